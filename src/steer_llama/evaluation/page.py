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

_TEMPLATE, _STYLE, _SCRIPT = "report.html.j2", "report.css", "report.js"


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
        trials: the answers, for the side-by-side view, the quotes in the heat map and the style profiles.
        evidence: the vector's metadata; every key may be missing.
        examples: questions whose answers stand side by side.
        title: of the page.

    Returns:
        HTML in which every text that came from a model or a file is escaped.
    """
    # Always on: the default goes by file name and would leave ".j2" unescaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["points"] = points
    panels = shown.panels(verdict, trials)
    styles = shown.style_rows(verdict, trials)
    effects = shown.effects_shown(verdict.side_effects)
    split, cards = shown.examples(verdict, trials, examples)
    paragraphs, unknown = shown.methods(verdict, trials, panels, evidence, verdict.setup)
    return environment.from_string(_packaged(_TEMPLATE)).render(
        title=title,
        verdict=verdict,
        head=shown.headline(verdict, effects),
        arms={arm.arm: arm for arm in verdict.arms},
        colours=figures.ARM_COLOURS,
        metric=verdict.metric.replace("_", " "),
        split=split,
        examples=cards,
        closest=shown.closest_condition(verdict),
        stopped=len(shown.stopped(panels)),
        cells=sum(len(panel.cells) for panel in panels),
        effects=effects,
        methods=paragraphs,
        unknown=unknown,
        tables=_tables(verdict, panels, styles),
        facts=shown.evidence_facts(evidence),
        plots=_plots(verdict, panels, styles, effects, evidence),
        # Safe to mark: all three are our own files.
        style=Markup(_packaged(_STYLE)),
        script=Markup(_packaged(_SCRIPT)),
        plotly=Markup(figures.plotly_script()),
    )


def _packaged(name: str) -> str:
    return (resources.files("steer_llama.packaged") / name).read_text(encoding="utf-8")


def _tables(
    verdict: Verdict, panels: Sequence[shown.Panel], styles: Sequence[shown.StyleRow]
) -> dict[str, shown.Table]:
    """The tables by name; those without a line or a figure are left out."""
    tables = [
        shown.results_table(verdict),
        shown.comparisons_table(verdict),
        shown.quality_table(verdict),
        shown.style_table(verdict, styles),
        shown.features_table(verdict),
        shown.conditions_table(verdict, panels),
    ]
    return {table.name: table for table in tables if table.rows and len(table.columns) > 1}


def _plots(
    verdict: Verdict,
    panels: Sequence[shown.Panel],
    styles: Sequence[shown.StyleRow],
    effects: shown.Effects | None,
    evidence: Mapping[str, Any],
) -> dict[str, Markup]:
    """The pictures by name; those that there is nothing to show in are left out."""
    drawn = {**_of_arms(verdict), **_of_sweep(verdict, panels), **_of_vector(verdict, evidence)}
    compared = [(arm.arm, arm.label) for arm in verdict.arms if arm.arm in {"unsteered", "steered", "prompted"}]
    if any(row.gap(arm) for row in styles for arm, _ in compared):
        drawn["style"] = figures.style_plot(styles, compared)
    for place, course in enumerate(effects.courses if effects else ()):
        drawn[f"turns_{place}"] = figures.turns_plot(f"turns-{place}", course)
    # Safe to mark: the figures escape their texts, and plotly escapes its JSON for a script element.
    return {name: Markup(text) for name, text in drawn.items()}


def _of_arms(verdict: Verdict) -> dict[str, str]:
    drawn: dict[str, str] = {}
    names = shown.arm_names(verdict)
    closed = [
        figures.Dot(names[arm.arm], arm.arm, arm.fidelity.closed)
        for arm in verdict.arms
        if arm.fidelity and arm.fidelity.closed.n and arm.arm != "unsteered"
    ]
    ends = (figures.Mark(0, "unsteered"), figures.Mark(100, verdict.source_name))
    if closed:
        drawn["arms_closed"] = figures.dot_plot(
            "arms-closed", closed, scale=100, unit="%", within=(-150, 200), marks=ends
        )
    for of, scale, unit in (("share", 100, "%"), ("trait", 1, "")):
        dots = [figures.Dot(names[arm.arm], arm.arm, getattr(arm.measured, of)) for arm in verdict.arms]
        if any(dot.interval.n for dot in dots):
            drawn[f"arms_{of}"] = figures.dot_plot(
                f"arms-{of}", dots, scale=scale, unit=unit, within=(0, 100), full=True
            )
    none = (figures.Mark(0, "no difference"),)
    for of, scale in (("closed", 100), ("trait", 1)):
        dots = [
            figures.Dot(f"minus {names.get(each.against, each.against)}", each.against, interval)
            for each in verdict.comparisons
            if (interval := getattr(each, of)) is not None and interval.n
        ]
        if dots:
            drawn[f"against_{of}"] = figures.dot_plot(
                f"against-{of}", dots, scale=scale, unit="", within=(-200, 200), marks=none
            )
    return drawn


def _of_sweep(verdict: Verdict, panels: Sequence[shown.Panel]) -> dict[str, str]:
    if not panels:
        return {}
    near = any(condition.fidelity and condition.fidelity.closed.n for condition in verdict.conditions)
    drawn = {
        "heat_trait": figures.heat_map(panels, "trait"),
        "heat_coherence": figures.heat_map(panels, "coherence"),
        "trade_off": figures.trade_off(
            verdict, panels, "closed" if near and verdict.objective == "fidelity" else "trait"
        ),
    }
    return {"heat_closed": figures.heat_map(panels, "closed"), **drawn} if near else drawn


def _of_vector(verdict: Verdict, evidence: Mapping[str, Any]) -> dict[str, str]:
    drawn: dict[str, str] = {}
    series = shown.evidence_series(evidence)
    layer_plot = partial(
        figures.layer_plot,
        layers=list(evidence.get("layers") or []),
        winner=verdict.winner.layer if verdict.winner else None,
    )
    if series["norm"]:
        drawn["norm"] = layer_plot("norm", lines=series["norm"], band=None, axis="‖v‖ / residual norm")
    if series["agreement"]:
        drawn["agreement"] = layer_plot("agreement", lines=series["agreement"], band="bootstrap", axis="cosine, AUROC")
    return drawn
