"""Choosing the winner among the sweep's conditions, on dev questions only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from steer_llama.errors import InputError
from steer_llama.evaluation.coherence import norm_of
from steer_llama.evaluation.measured import measure
from steer_llama.records import Condition, Measured, Trial

Wanted = Literal["more", "less"]

TIE = 1.0
"""Trait-score points within which two conditions move the trait equally."""


@dataclass(frozen=True)
class Choice:
    """What the dev questions say."""

    unsteered: Measured
    conditions: tuple[Condition, ...]
    """By layer, then strength."""
    winner: Condition | None
    rule: str
    """How the winner was chosen, or why there is none, in a sentence."""


def sign(wanted: Wanted) -> float:
    """+1 where more of the trait is wanted, −1 where less."""
    return 1.0 if wanted == "more" else -1.0


def choose_winner(
    trials: Sequence[Trial], *, wanted: Wanted, min_coherence: float, bootstrap: int, seed: int
) -> Choice:
    """Measure every layer × strength on the dev questions and choose among them; other trials are not looked at.

    Args:
        trials: of any split and arm.
        wanted: whether the trait score is to rise or to fall.
        min_coherence: coherence score (0–100) that a winner must reach.
        bootstrap: resamplings of the questions for the intervals.
        seed: of the resamplings.

    Raises:
        InputError: there are no unsteered answers to dev questions.
    """
    dev = [trial for trial in trials if trial.split == "dev"]
    plain = [trial for trial in dev if trial.arm == "unsteered"]
    if not plain:
        raise InputError("the sweep has no unsteered answers to dev questions, so there is nothing to compare with.")
    norm = norm_of(plain, [trial for trial in dev if trial.arm == "source"])
    unsteered = measure(plain, norm=norm, resamples=bootstrap, seed=seed)
    grouped: dict[tuple[int, float], list[Trial]] = {}
    for trial in dev:
        if trial.arm == "steered" and trial.layer is not None and trial.strength is not None:
            grouped.setdefault((trial.layer, trial.strength), []).append(trial)
    conditions = []
    for (layer, strength), answers in sorted(grouped.items()):
        measured = measure(answers, norm=norm, resamples=bootstrap, seed=seed)
        eligible = measured.coherence is not None and measured.coherence >= min_coherence
        conditions.append(Condition(layer=layer, strength=strength, measured=measured, eligible=eligible))
    winner, rule = choose(conditions, unsteered, wanted=wanted, min_coherence=min_coherence)
    return Choice(unsteered, tuple(conditions), winner, rule)


def choose(
    conditions: Sequence[Condition], unsteered: Measured, *, wanted: Wanted, min_coherence: float
) -> tuple[Condition | None, str]:
    """The winner and the rule that chose it, or ``None`` and the reason why nothing can win.

    Among the eligible, the largest move of the mean trait score in the wanted direction; within `TIE` points the more
    coherent, then the weaker, then the lower layer.
    """
    direction = "rise" if wanted == "more" else "fall"
    if not conditions:
        return None, "Nothing was steered on the dev questions."
    eligible = [condition for condition in conditions if condition.eligible]
    if not eligible:
        return None, f"No layer and strength keeps a coherence of {min_coherence:g} on the dev questions."
    moves = [(_move(condition, unsteered, wanted), condition) for condition in eligible]
    # Written so that an unscored condition (NaN) counts as one that does not move.
    right = [(move, condition) for move, condition in moves if move > 0]
    if not right:
        return None, (
            f"In none of the {len(eligible)} layers and strengths that keep a coherence of {min_coherence:g} does "
            f"the trait score {direction} on the dev questions."
        )
    best = max(move for move, _ in right)
    tied = [condition for move, condition in right if move >= best - TIE]
    winner = min(tied, key=lambda c: (-(c.measured.coherence or 0.0), abs(c.strength), c.layer))
    rule = (
        f"Among the {len(eligible)} of {len(conditions)} layers and strengths that keep a coherence of "
        f"{min_coherence:g} on the dev questions, the largest {direction} of the mean trait score"
    )
    if len(tied) > 1:
        rule += f"; {len(tied)} lie within {TIE:g} point of it, of which the most coherent, then the weakest, wins"
    return winner, rule + "."


def _move(condition: Condition, unsteered: Measured, wanted: Wanted) -> float:
    """Points by which the mean trait score moves in the wanted direction."""
    return sign(wanted) * (condition.measured.trait.mean - unsteered.trait.mean)
