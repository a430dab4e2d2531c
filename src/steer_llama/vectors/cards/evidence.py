"""What a vector's evidence says, as Markdown; keys may be missing, new or damaged, and are then left out."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from steer_llama.vectors.cards.escaping import plain
from steer_llama.vectors.vector import SteeringVector

_MOST_ROWS = 40

# Columns that we know, in the order of a table, and what they are to people.
_KNOWN = {
    "norm": "‖v‖",
    "residual_norm": "mean norm of the residual stream there",
    "relative_norm": "‖v‖ over that",
    "bootstrap_cosine": "cosine with the vectors of resampled pairs",
    "bootstrap_norm": "‖v‖ of resampled pairs",
    "split_half_cosine": "cosine between the vectors of two random halves of the pairs",
    "null_norm": "‖v‖ that pairs without a difference would give (95% quantile)",
    "null_p": "share of those that are as long (a permutation test's p)",
    "held_out_auroc": "AUROC on held-out pairs (0.5 is chance)",
    "held_out_cohens_d": "Cohen's d on held-out pairs",
    "opposed_share": "share of held-out pairs whose difference points the other way",
}
_DECISIONS = {
    "use": "**It works.**",
    "prompt": "**It works, but a prompt works better.**",
    "no": "**Not confirmed.**",
}


def verdict_lines(vector: SteeringVector) -> list[str]:
    """The sweep's verdict, whatever it is; that there is none is said too."""
    verdict = vector.evidence.get("verdict")
    if not isinstance(verdict, dict) or not verdict.get("sentence"):
        return [
            "**Not tested.** No sweep has steered the model with this vector and compared it with doing nothing, with "
            "random directions and with a prompt, so whether it works is not known."
        ]
    decision = _DECISIONS.get(str(verdict.get("decision")), "")
    lines = [f"{decision} {plain(verdict['sentence'], 2000)}".strip()]
    if sampling := vector.recommended_sampling:
        told = ", ".join(f"{plain(key)} {plain(_number(value) or value)}" for key, value in sampling.items())
        lines += ["", f"Found with {told}; other settings may behave otherwise."]
    return lines


def arms_lines(vector: SteeringVector) -> list[str]:
    """The arms on the test questions, as a table."""
    arms = vector.evidence.get("test")
    rows = []
    for arm in arms[:_MOST_ROWS] if isinstance(arms, list) else []:
        measured = arm.get("measured") if isinstance(arm, dict) else None
        if not isinstance(measured, dict) or not (label := arm.get("label") or arm.get("arm")):
            continue
        cells = [
            _interval(measured.get("trait")),
            _interval(measured.get("share"), 100, "%"),
            _number(measured.get("coherence")),
            _number(measured.get("perplexity")),
        ]
        rows.append(f"| {plain(label)} | {' | '.join(cell or '' for cell in cells)} |")
    if not rows:
        return []
    head = "| answers to test questions | trait score | answers with the feature | coherence | perplexity |"
    return [head, "|---|---|---|---|---|", *rows, "", "In brackets: 95% intervals over the questions."]


def layer_lines(vector: SteeringVector, layer: int) -> list[str]:
    """What was measured at one layer, as a table."""
    evidence = vector.evidence
    layers = evidence.get("layers")
    order = layers if isinstance(layers, list) and layer in layers else list(vector.layers)
    index = order.index(layer)
    rows = []
    for key, meaning in [*_KNOWN.items(), *((key, "") for key in evidence if key not in (*_KNOWN, "layers"))]:
        value = _at(evidence.get(key), index, len(order))
        if value:
            rows.append(f"| {meaning or plain(key, 60)} | {value} |")
    if not rows:
        return []
    return [f"| at layer {layer} | |", "|---|---|", *rows[:_MOST_ROWS]]


def _at(column: Any, index: int, length: int) -> str | None:
    """One layer's entry of a column: a list, or an object of lists (mean, low, high)."""
    if isinstance(column, list) and len(column) == length:
        return _number(column[index])
    if isinstance(column, dict):
        entries = {
            key: value[index] for key, value in column.items() if isinstance(value, list) and len(value) == length
        }
        if {"low", "high"} <= set(entries):
            return _interval(entries)
        told = [f"{plain(key, 40)} {number}" for key, value in entries.items() if (number := _number(value))]
        return ", ".join(told[:6]) or None
    return None


def _interval(entry: Any, factor: float = 1, unit: str = "") -> str | None:
    if not isinstance(entry, Mapping):
        return _number(entry, factor, unit)
    mean, low, high = (_number(entry.get(key), factor, unit) for key in ("mean", "low", "high"))
    if low is None or high is None:
        return mean
    return f"{mean} [{low}, {high}]" if mean else f"{low} to {high}"


def _number(value: Any, factor: float = 1, unit: str = "") -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        scaled = float(value) * factor
    except OverflowError:
        return None
    return f"{scaled:.3g}{unit}" if math.isfinite(scaled) and abs(scaled) < 1e6 else None


def facts_lines(vector: SteeringVector, tell: Callable[[str, object], str]) -> list[str]:
    """Where it came from: counts and fingerprints."""
    evidence = vector.evidence
    lines = []
    if isinstance(pairs := evidence.get("pairs"), int):
        lines.append(f"- estimated from {pairs} pairs of answers")
    for key, meaning in (("data_fingerprint", "data"), ("steer_llama", "made with steer-llama")):
        if isinstance(value := evidence.get(key), str) and value:
            lines.append(tell(meaning, value))
    return lines
