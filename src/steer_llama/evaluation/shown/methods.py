"""A methods section for a paper, written from what was done, with every number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steer_llama.evaluation.objections import MIN_QUESTIONS
from steer_llama.evaluation.shown.cells import Panel, stopped
from steer_llama.evaluation.shown.numerals import counted, number
from steer_llama.records import SweepSetup, Trial, Verdict


@dataclass(frozen=True)
class Paragraph:
    """One step of the method."""

    title: str
    text: str


def methods(
    verdict: Verdict,
    trials: Sequence[Trial],
    panels: Sequence[Panel],
    evidence: Mapping[str, Any],
    setup: SweepSetup,
) -> tuple[tuple[Paragraph, ...], tuple[str, ...]]:
    """The paragraphs, and what they would say and cannot, since neither files nor settings do."""
    unknown: list[str] = []
    written = [
        Paragraph("Intervention", _intervention(verdict, panels, evidence, setup, unknown)),
        Paragraph("Decoding", _decoding(verdict, setup, unknown)),
        Paragraph("Measures", _measures(verdict, trials)),
    ]
    if panels:
        written.append(Paragraph("Choice", _choice(verdict, panels)))
    if verdict.arms:
        written.append(Paragraph("Confirmation", _confirmation(verdict, trials)))
    written.append(Paragraph("Statistics", _statistics(setup, unknown)))
    written.append(Paragraph("Result", verdict.sentence))
    return tuple(written), tuple(unknown)


def _intervention(
    verdict: Verdict, panels: Sequence[Panel], evidence: Mapping[str, Any], setup: SweepSetup, unknown: list[str]
) -> str:
    modes = sorted({(cell.condition.mode, cell.condition.where) for panel in panels for cell in panel.cells})
    how = " and ".join(f"{mode} at {where} tokens" for mode, where in modes or [("add", "all")])
    details = []
    for value, name in ((setup.dtype, "dtype"), (setup.revision, "revision")):
        if value:
            details.append(f"{name} {value}" if name == "revision" else value)
    if not setup.dtype:
        unknown.append("the dtype that the model computed in")
    model = f"{verdict.model} ({', '.join(details)})" if details else verdict.model
    text = (
        f"We steered {model} towards the style of {verdict.source_name} (trait: {verdict.trait}) with a direction in "
        f"its residual stream ({how}). Layer ℓ is the 0-based decoder block ℓ at its output (blocks.ℓ.hook_resid_post "
        "in TransformerLens, hidden_states[ℓ + 1] in transformers). A strength is the norm of what is added over the "
        "mean norm of the residual stream at that layer."
    )
    if estimator := evidence.get("estimator"):
        pairs = evidence.get("pairs")
        of = f" from {counted(pairs, 'pair')} of answers" if isinstance(pairs, int) else ""
        positions = evidence.get("positions")
        where = f" (positions: {positions})" if positions else ""
        text += f" The direction was estimated per layer by {estimator}{of}{where}, without dev and test questions."
    else:
        unknown.append("how the direction was estimated (give the report the vector)")
    return text


def _decoding(verdict: Verdict, setup: SweepSetup, unknown: list[str]) -> str:
    drawn = verdict.sampling
    if drawn:
        temperature = drawn.get("temperature")
        how = "greedily" if temperature == 0 else f"at temperature {temperature:g}" if temperature is not None else ""
        rest = [f"{name.replace('_', ' ')} {drawn[name]:g}" for name in sorted(drawn) if name != "temperature"]
        said = " with ".join(part for part in (how, ", ".join(rest)) if part)
        text = f"Answers were sampled {said}"
    else:
        text = "Answers were sampled"
        unknown.append("temperature, top p and repetition penalty")
    if setup.max_tokens is not None:
        text += f", with at most {counted(setup.max_tokens, 'token')}"
    else:
        unknown.append("the most tokens of an answer")
    return f"{text}. Every question has a seed of its own, which all conditions share: they differ by what they do."


def _measures(verdict: Verdict, trials: Sequence[Trial]) -> str:
    metric = verdict.metric.replace("_", " ")
    judged = any(trial.coherence_score is not None for trial in trials)
    texts = [f"The trait score (0–100, {metric}) says how loud the trait is; unscored answers are left out."]
    if any(arm.fidelity for arm in verdict.arms) or any(condition.fidelity for condition in verdict.conditions):
        texts.append(
            "Fidelity is nearness to the source's style: the energy distance between the sets of style profiles "
            "(emoji, markdown items, punctuation, exclamation and question marks per 100 tokens, length in tokens, "
            "words per sentence; each in units of its mean difference between two of the source's and the unsteered "
            "target's answers), by a U-statistic over answers to different questions; the share of the gap closed is "
            "one minus its ratio to that of the unsteered target."
        )
    texts.append(
        "Coherence (0–100) is the product of three ratios, each at most 1, to the unsteered target's or the source's "
        "level, whichever is easier to reach: perplexity under the unsteered model, distinct-2, and words."
        + (" A judge scored coherence too, and both have to reach the minimum." if judged else "")
    )
    if any(arm.anti_steered for arm in verdict.arms):
        texts.append(
            "An answer moved the wrong way where its trait score lies on the wrong side of the unsteered answer's to "
            "the same question with the same seed; ties are counted apart."
        )
    return " ".join(texts)


def _choice(verdict: Verdict, panels: Sequence[Panel]) -> str:
    cells = [cell for panel in panels for cell in panel.cells]
    layers = sorted({cell.condition.layer for cell in cells})
    strengths = sorted({cell.condition.strength for cell in cells})
    text = (
        f"{counted(len(cells), 'condition')} (layers {_list(layers)}; strengths {_list(strengths)}) "
        f"{'was' if len(cells) == 1 else 'were'} tried on {counted(cells[0].asked, 'dev question')}. "
    )
    if early := stopped(panels):
        shares = sum(cell.answered for cell in cells) / sum(cell.asked for cell in cells)
        after = sorted({cell.answered for cell in early})
        text += (
            f"By successive halving, {len(cells) - len(early)} of them answered every question and {len(early)} were "
            f"stopped after {_list(after)} questions, which took "
            f"{number(100 * shares)}% of the whole grid's answers. "
        )
    text += f"A winner has to keep a coherence of {verdict.min_coherence:g}. {verdict.rule.rstrip('.')}"
    return text + (f": {verdict.winner.spot}." if verdict.winner else ".")


def _confirmation(verdict: Verdict, trials: Sequence[Trial]) -> str:
    test = [trial for trial in trials if trial.split == "test"]
    questions = len({trial.question for trial in test if trial.arm == "unsteered"})
    samples = len({trial.sample for trial in test if trial.arm == "steered"})
    directions = len({trial.direction for trial in test if trial.arm == "random"})
    said = {
        "random": f"{counted(directions, 'random direction')} of the same norm",
        "turned": "the vector turned round",
        "prompted": f"the target with {verdict.source_name}'s own prompt",
        "examples": f"the target with answers of {verdict.source_name} as examples",
        "source": f"{verdict.source_name} itself",
    }
    beside = ["the unsteered target", *(said[arm.arm] for arm in verdict.arms if arm.arm in said)]
    counts = sorted({arm.measured.trait.n for arm in verdict.arms})
    scored = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    gain, rivals = "the trait score", "the random directions"
    if verdict.objective == "fidelity":
        gain = "the style gap closed"
        rivals += " and over the vector turned round" if any(arm.arm == "turned" for arm in verdict.arms) else ""
    return (
        f"The winner was tried once on {counted(questions, 'test question')} ({counted(max(samples, 1), 'answer')} "
        f"each; {scored} questions scored), which neither the direction nor the choice has seen, beside "
        f"{', '.join(beside[:-1])}{' and ' if len(beside) > 1 else ''}{beside[-1]}. Steering counts as confirmed where "
        f"the interval of its gain in {gain}, and that of its lead over {rivals}, exclude 0, coherence reaches the "
        f"minimum, and at least {MIN_QUESTIONS} questions were scored."
    )


def _statistics(setup: SweepSetup, unknown: list[str]) -> str:
    drawn = ""
    if setup.bootstrap is not None:
        drawn = f" ({setup.bootstrap:,} resamplings" + (f", seed {setup.seed})" if setup.seed is not None else ")")
    else:
        unknown.append("the number of resamplings")
    if setup.seed is None:
        unknown.append("the seed")
    return (
        f"Intervals are 95% percentile bootstrap intervals over questions{drawn}, with all answers to a question "
        "together; differences are paired by question. d_z is the mean paired difference over its standard deviation "
        "between questions. The intervals do not cover the choice of the random directions."
    )


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
