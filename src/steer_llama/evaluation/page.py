"""The report: everything that was found, in one HTML page that needs no network."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from steer_llama.evaluation import figures, shown
from steer_llama.evaluation.wording import points
from steer_llama.records import Trial, Verdict

_TEMPLATE = "report.html.j2"


def render_report(
    verdict: Verdict,
    trials: Sequence[Trial],
    evidence: Mapping[str, Any],
    examples: int,
    title: str,
) -> str:
    """The report as one self-contained page.

    Args:
        verdict: what the sweep found.
        trials: the answers, for the side-by-side view and the quotes in the heat map.
        evidence: the vector's metadata; every key may be missing.
        examples: questions whose answers stand side by side.
        title: of the page.

    Returns:
        HTML in which every text that came from a model or a file is escaped.
    """
    # Always on: the default goes by file name and would leave ".j2" unescaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["points"] = points
    environment.filters["scaled"] = shown.scaled
    source = (resources.files("steer_llama.packaged") / _TEMPLATE).read_text(encoding="utf-8")
    of = shown.measure_shown(verdict)
    split, cards = shown.examples(verdict, trials, examples)
    return environment.from_string(source).render(
        title=title,
        verdict=verdict,
        arms={arm.arm: arm for arm in verdict.arms},
        colours=figures.ARM_COLOURS,
        of=of,
        scale=100 if of == "share" else 1,
        metric=verdict.metric.replace("_", " "),
        min_coherence=verdict.min_coherence,
        split=split,
        examples=cards,
        closest=shown.closest_condition(verdict),
        profile=shown.profile_rows(verdict),
        facts=shown.evidence_facts(evidence),
        plots=_plots(verdict, trials, evidence),
        plotly=Markup(figures.plotly_script()),
    )


def _plots(verdict: Verdict, trials: Sequence[Trial], evidence: Mapping[str, Any]) -> dict[str, Markup]:
    """The pictures by name; those that there is nothing to show in are left out."""
    drawn: dict[str, str] = {}
    if verdict.conditions:
        quotes = shown.quotes(verdict, trials)
        drawn["heat_trait"] = figures.heat_map(verdict.conditions, verdict.winner, "trait", quotes)
        drawn["heat_coherence"] = figures.heat_map(verdict.conditions, verdict.winner, "coherence", quotes)
        drawn["trade_off"] = figures.trade_off(verdict)
    if any(arm.measured.share.n for arm in verdict.arms):
        drawn["arms_share"] = figures.arms_plot(verdict.arms, "share")
    if any(arm.measured.trait.n for arm in verdict.arms):
        drawn["arms_trait"] = figures.arms_plot(verdict.arms, "trait")
    series = shown.evidence_series(evidence)
    layer_plot = partial(
        figures.layer_plot,
        layers=list(evidence.get("layers") or []),
        winner=verdict.winner.layer if verdict.winner else None,
    )
    if series["norm"]:
        drawn["norm"] = layer_plot("layers-norm", lines=series["norm"], band=None, axis="‖v‖ / residual norm")
    if series["agreement"]:
        drawn["agreement"] = layer_plot(
            "layers-agreement", lines=series["agreement"], band="bootstrap", axis="cosine, AUROC"
        )
    # Safe to mark: the figures escape their texts, and plotly escapes its JSON for a script element.
    return {name: Markup(text) for name, text in drawn.items()}
