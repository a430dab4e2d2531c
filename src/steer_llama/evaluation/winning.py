"""Which condition wins, under either objective, and why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from steer_llama.evaluation.wanted import Wanted, sign
from steer_llama.records import Condition, Measured

Objective = Literal["fidelity", "trait"]
"""What a winner is chosen by: nearness to the source's style, or the move of the trait score."""

TIE = {"fidelity": 0.01, "trait": 1.0}
"""How little makes no difference: a share of the unsteered target's distance, points of the trait score.

It is small beside the intervals of a dozen questions, on purpose: within them lie half of the conditions, and the
weakest that is not surely worse is worse.
"""


@dataclass(frozen=True)
class Gains:
    """What may win, with what it gains: more is better, and all are above 0."""

    gains: list[tuple[float, Condition]]
    rule: str
    tie: float
    unit: str
    """What the tie is in words."""


def choose(
    conditions: Sequence[Condition],
    unsteered: Measured,
    *,
    wanted: Wanted,
    min_coherence: float,
    objective: Objective = "fidelity",
    gap: float = math.nan,
) -> tuple[Condition | None, str]:
    """The winner and the rule that chose it, or ``None`` and the reason why nothing can win.

    Args:
        conditions: in any order.
        unsteered: the unsteered target.
        wanted: whether the trait score is to rise or to fall.
        min_coherence: for the sentence; `Condition.eligible` decides.
        objective: ``fidelity``: the smallest distance from the source's style that is smaller than the unsteered
            target's, among those that do not move the trait the wrong way: what gets nearer to the source and yet
            away from its trait has got nearer by something else. ``trait``: the largest move of the mean trait score
            the wanted way. What lies within `TIE` of the best counts as good as it: the more coherent wins, then the
            weaker, then the first.
        gap: the unsteered target's own distance from the source.
    """
    if not conditions:
        return None, "Nothing was steered on the dev questions."
    eligible = [condition for condition in conditions if condition.eligible]
    if not eligible:
        return None, f"No layer and strength keeps a coherence of {min_coherence:g} on the dev questions."
    among = f"{len(eligible)} of {len(conditions)} layers and strengths that keep a coherence of {min_coherence:g}"
    found = (
        by_trait(eligible, unsteered, wanted, among)
        if objective == "trait"
        else by_fidelity(eligible, unsteered, wanted, among, gap)
    )
    if isinstance(found, str):
        return None, found
    best = max(gain for gain, _ in found.gains)
    tied = [condition for gain, condition in found.gains if gain >= best - found.tie]
    winner = min(tied, key=lambda c: (-(c.measured.coherence or 0.0), abs(c.strength), c.layer, c.spot))
    rule = found.rule
    if len(tied) > 1:
        rule += f"; {len(tied)} lie within {found.unit} of it, of which the most coherent, then the weakest, wins"
    return winner, rule + "."


def by_trait(eligible: Sequence[Condition], unsteered: Measured, wanted: Wanted, among: str) -> Gains | str:
    """What each gains in trait score, or why none does; ``among`` says in words what they are."""
    direction = "rise" if wanted == "more" else "fall"
    # Written so that an unscored condition (NaN) counts as one that does not move.
    gains = [(move, condition) for condition in eligible if (move := _move(condition, unsteered, wanted)) > 0]
    if not gains:
        return f"In none of the {among} does the trait score {direction} on the dev questions."
    rule = f"Among the {among} on the dev questions, the largest {direction} of the mean trait score"
    return Gains(gains, rule, TIE["trait"], f"{TIE['trait']:g} point")


def by_fidelity(
    eligible: Sequence[Condition], unsteered: Measured, wanted: Wanted, among: str, gap: float
) -> Gains | str:
    """What each gains on the distance from the source, or why none does; ``among`` says in words what they are."""
    if not gap > 0:
        return "On the dev questions the source's style is not told apart from the unsteered target's."
    nearer = [
        # Below 0 is 0: both are not told apart from the source, and the difference is chance.
        (gap - max(0.0, condition.fidelity.distance.mean), condition)
        for condition in eligible
        if condition.fidelity is not None and condition.fidelity.distance.mean < gap
    ]
    if not nearer:
        return f"None of the {among} comes nearer to the source's style than the unsteered target on the dev questions."
    right = [(gain, condition) for gain, condition in nearer if _move(condition, unsteered, wanted) >= 0]
    if not right:
        return (
            f"Of the {among}, {len(nearer)} come nearer to the source's style on the dev questions, but all of them "
            "move the trait the wrong way, so that it is not the trait that brings them nearer."
        )
    rule = f"Among the {among} on the dev questions, the smallest distance from the source's style"
    if len(right) < len(nearer):
        away = len(nearer) - len(right)
        rule += f" ({away} that move{'s' * (away == 1)} the trait the wrong way left out)"
    return Gains(right, rule, TIE["fidelity"] * gap, f"{100 * TIE['fidelity']:g}% of the unsteered target's distance")


def _move(condition: Condition, unsteered: Measured, wanted: Wanted) -> float:
    """Points by which the mean trait score moves in the wanted direction."""
    return sign(wanted) * (condition.measured.trait.mean - unsteered.trait.mean)
