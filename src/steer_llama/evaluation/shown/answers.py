"""Answers to one question side by side, and which figure tells the story."""

from collections.abc import Sequence
from dataclasses import dataclass

from steer_llama.evaluation.wanted import sign
from steer_llama.evaluation.wording import by_share
from steer_llama.records import Arm, Condition, Trial, Verdict

_COLUMNS: tuple[Arm, ...] = ("unsteered", "steered", "source")
_MORE: tuple[Arm, ...] = ("prompted", "examples", "turned", "random")
"""What is shown where there is room."""


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
    more: tuple[Answer, ...] = ()
    """Of the other arms."""


def measure_shown(verdict: Verdict) -> str:
    """``share`` or ``trait``: which of the two tells the story in this report."""
    steered = next((arm for arm in verdict.arms if arm.arm == "steered"), None)
    if steered is not None:
        return "share" if by_share(steered.lift_share, steered.lift_trait) else "trait"
    return "share" if verdict.unsteered.share.n else "trait"


def closest_condition(verdict: Verdict) -> Condition | None:
    """The winner, or where there is none the condition that came furthest by the objective, coherent or not.

    Under ``fidelity`` that is the one nearest to the source's style, under ``trait`` the one that moved the trait
    score furthest the wanted way.
    """
    if verdict.winner is not None:
        return verdict.winner
    if verdict.objective == "fidelity":
        near = [
            (c.fidelity.distance.mean, c.spot, c) for c in verdict.conditions if c.fidelity and c.fidelity.distance.n
        ]
        if near:
            return min(near)[2]
    scored = [condition for condition in verdict.conditions if condition.measured.trait.n]
    return max(scored, key=lambda c: sign(verdict.wanted) * c.measured.trait.mean, default=None)


def examples(verdict: Verdict, trials: Sequence[Trial], count: int) -> tuple[str, tuple[Example, ...]]:
    """The split and the first ``count`` questions, in their own order and so picked by nobody.

    Test questions where the winner answered them, else dev questions with what `closest_condition` made of them.
    """
    condition = closest_condition(verdict)
    confirmed = any(trial.split == "test" and trial.arm == "steered" for trial in trials)
    split = "test" if verdict.winner is not None and confirmed else "dev"
    columns: tuple[Arm, ...] = (*_COLUMNS, "prompted") if verdict.decision == "prompt" else _COLUMNS
    rest = tuple(arm for arm in _MORE if arm not in columns)
    answers: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        if trial.split != split or trial.arm not in (*columns, *rest) or not _at(trial, condition):
            continue
        # The first sample of several, and the first random direction, for the same reason.
        answers.setdefault(trial.question, {}).setdefault(trial.arm, trial)
    labels = _short_labels(verdict)
    picked = []
    for question, given in list(answers.items())[:count]:
        main, more = (
            tuple(_answer(given[arm], labels[arm]) for arm in arms if arm in given) for arms in (columns, rest)
        )
        picked.append(Example(question, main, more))
    return split, tuple(picked)


def _at(trial: Trial, condition: Condition | None) -> bool:
    """Whether it was steered where the condition is (turned round: with the sign of the strength), or not at all."""
    if trial.arm not in {"steered", "turned", "random"}:
        return True
    if condition is None or trial.spot is None:
        return False
    if trial.arm == "steered":
        return trial.spot == condition.spot
    return trial.spot._replace(strength=abs(trial.spot.strength)) == condition.spot._replace(
        strength=abs(condition.strength)
    )


def _answer(trial: Trial, label: str) -> Answer:
    cut = trial.finish_reason == "length"
    return Answer(arm=trial.arm, label=label, text=trial.text, score=trial.trait_score, cut=cut)


def _short_labels(verdict: Verdict) -> dict[str, str]:
    return {
        "unsteered": f"{verdict.target_name}, unsteered",
        "steered": f"{verdict.target_name}, steered",
        "source": f"{verdict.source_name} (source)",
        "prompted": f"{verdict.target_name}, prompted",
        "examples": f"{verdict.target_name}, given examples",
        "turned": f"{verdict.target_name}, the vector turned round",
        "random": f"{verdict.target_name}, a random direction",
    }


def arm_names(verdict: Verdict) -> dict[str, str]:
    """The arms without the target's name, for pictures, whose width is needed for what they show."""
    names = {"unsteered": "unsteered", "steered": "steered", "source": verdict.source_name, "prompted": "prompted"}
    names |= {"examples": "given examples", "turned": "turned round", "random": "random directions"}
    return names
