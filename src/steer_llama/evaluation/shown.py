"""What the report shows, picked from the verdict and the trials; no HTML here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steer_llama.evaluation.wanted import sign
from steer_llama.evaluation.wording import by_share
from steer_llama.records import Condition, Interval, Trial, Verdict

_COLUMNS = ("unsteered", "steered", "source")


@dataclass(frozen=True)
class Answer:
    """One answer of a side-by-side card."""

    arm: str
    label: str
    text: str
    score: float | None
    """Trait score, 0–100."""
    cut: bool
    """Whether it ended at the token limit."""


@dataclass(frozen=True)
class Example:
    """One question with the arms' answers."""

    question: str
    answers: tuple[Answer, ...]


def measure_shown(verdict: Verdict) -> str:
    """``share`` or ``trait``: which of the two tells the story in this report."""
    steered = next((arm for arm in verdict.arms if arm.arm == "steered"), None)
    if steered is not None:
        return "share" if by_share(steered.lift_share, steered.lift_trait) else "trait"
    return "share" if verdict.unsteered.share.n else "trait"


def closest_condition(verdict: Verdict) -> Condition | None:
    """The winner, or where there is none the condition that moved the trait score furthest the wanted way."""
    if verdict.winner is not None:
        return verdict.winner
    scored = [condition for condition in verdict.conditions if condition.measured.trait.n]
    return max(scored, key=lambda c: sign(verdict.wanted) * c.measured.trait.mean, default=None)


def examples(verdict: Verdict, trials: Sequence[Trial], count: int) -> tuple[str, tuple[Example, ...]]:
    """The split and the first ``count`` questions, in their own order and so picked by nobody.

    Test questions where the winner answered them, else dev questions with what `closest_condition` made of them.
    """
    condition = closest_condition(verdict)
    confirmed = any(trial.split == "test" and trial.arm == "steered" for trial in trials)
    split = "test" if verdict.winner is not None and confirmed else "dev"
    columns = (*_COLUMNS, "prompted") if verdict.decision == "prompt" else _COLUMNS
    answers: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        if trial.split != split or trial.arm not in columns:
            continue
        if trial.arm == "steered" and (condition is None or trial.spot != condition.spot):
            continue
        # The first sample of several, for the same reason.
        answers.setdefault(trial.question, {}).setdefault(trial.arm, trial)
    labels = _short_labels(verdict)
    picked = []
    for question, given in list(answers.items())[:count]:
        row = [_answer(given[arm], labels[arm]) for arm in columns if arm in given]
        picked.append(Example(question, tuple(row)))
    return split, tuple(picked)


def quotes(verdict: Verdict, trials: Sequence[Trial]) -> dict[tuple[int, float], str]:
    """One answer of each condition, to the first dev question that it answered."""
    found: dict[tuple[int, float], str] = {}
    for trial in trials:
        if trial.split == "dev" and trial.arm == "steered" and trial.layer is not None and trial.strength is not None:
            found.setdefault((trial.layer, trial.strength), trial.text)
    wanted = {(condition.layer, condition.strength) for condition in verdict.conditions}
    return {place: text for place, text in found.items() if place in wanted}


def profile_rows(verdict: Verdict) -> list[tuple[str, list[float | None]]]:
    """The style features of the test arms, one row a feature; those in which source and target differ most first."""
    profiles = {arm.arm: arm.measured.profile for arm in verdict.arms}
    names = sorted({name for profile in profiles.values() for name in profile})
    plain, source = profiles.get("unsteered", {}), profiles.get("source", {})

    def contrast(name: str) -> float:
        first, second = plain.get(name, 0.0), source.get(name, 0.0)
        return abs(first - second) / (abs(first) + abs(second) or 1.0)

    rows = sorted(names, key=lambda name: (-contrast(name), name))
    return [(name, [arm.measured.profile.get(name) for arm in verdict.arms]) for name in rows]


def evidence_facts(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the vector's metadata says in single values; series over layers are drawn instead."""
    facts: list[tuple[str, str]] = []
    for key, value in evidence.items():
        if isinstance(value, Mapping) and value and not any(isinstance(part, list | dict) for part in value.values()):
            facts.append(
                (_plain(key), ", ".join(f"{_plain(str(name))} {_shown(part)}" for name, part in value.items()))
            )
        elif isinstance(value, str | int | float) and value != "":
            facts.append((_plain(key), _shown(value)))
    return facts


def evidence_series(evidence: Mapping[str, Any]) -> dict[str, dict[str, list[float | None]]]:
    """The evidence layer by layer, under ``norm`` and ``agreement``; what is missing or does not fit is left out."""
    count = len(evidence.get("layers") or [])

    def series(values: Any) -> list[float | None] | None:
        return list(values) if isinstance(values, list | tuple) and len(values) == count > 0 else None

    residual = series(evidence.get("residual_norm"))
    shown: dict[str, dict[str, list[float | None]]] = {"norm": {}, "agreement": {}}
    for key, name in (("norm", "‖v‖"), ("null_norm", "with arms swapped at random (95%)")):
        if residual and (norm := series(evidence.get(key))):
            pairs = zip(norm, residual, strict=True)
            shown["norm"][name] = [a / b if a is not None and b else None for a, b in pairs]
    bootstrap = evidence.get("bootstrap_cosine")
    cosine = bootstrap if isinstance(bootstrap, Mapping) else {}
    for key, name in (("mean", "bootstrap"), ("low", "bootstrap low"), ("high", "bootstrap high")):
        if values := series(cosine.get(key)):
            shown["agreement"][name] = values
    for key, name in (("split_half_cosine", "split half"), ("held_out_auroc", "AUROC, held-out pairs")):
        if values := series(evidence.get(key)):
            shown["agreement"][name] = values
    return shown


def scaled(interval: Interval | None, scale: float) -> Interval | None:
    """The interval in another unit (a share in percent); ``None`` where nothing was scored."""
    if interval is None or not interval.n:
        return None
    mean, low, high = (scale * value for value in (interval.mean, interval.low, interval.high))
    return Interval(mean=mean, low=low, high=high, n=interval.n)


def _answer(trial: Trial, label: str) -> Answer:
    cut = trial.finish_reason == "length"
    return Answer(arm=trial.arm, label=label, text=trial.text, score=trial.trait_score, cut=cut)


def _short_labels(verdict: Verdict) -> dict[str, str]:
    return {
        "unsteered": f"{verdict.target_name}, unsteered",
        "steered": f"{verdict.target_name}, steered",
        "source": f"{verdict.source_name} (source)",
        "prompted": f"{verdict.target_name}, prompted",
    }


def _plain(key: str) -> str:
    return key.replace("_", " ")


def _shown(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return str(value)
