"""Choosing the winner among the sweep's conditions, on dev questions only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from steer_llama.errors import InputError
from steer_llama.evaluation.anti_steered import anti_steered
from steer_llama.evaluation.coherence import Level, coherent, level_of, norm_of
from steer_llama.evaluation.fidelity import Yardstick, fidelity_on, profile_scale
from steer_llama.evaluation.measured import measure
from steer_llama.evaluation.wanted import Wanted, sign
from steer_llama.records import Condition, Measured, Spot, Trial

Objective = Literal["fidelity", "trait"]
"""What a winner is chosen by: nearness to the source's style, or the move of the trait score."""

TIE = {"fidelity": 0.01, "trait": 1.0}
"""How little makes no difference: a share of the unsteered target's distance, points of the trait score.

It is small beside the intervals of a dozen questions, on purpose: within them lie half of the conditions, and the
weakest that is not surely worse is worse.
"""


@dataclass(frozen=True)
class Choice:
    """What the dev questions say."""

    unsteered: Measured
    conditions: tuple[Condition, ...]
    """In the order of their spots."""
    winner: Condition | None
    rule: str
    """How the winner was chosen, or why there is none, in a sentence."""
    objective: Objective = "trait"


@dataclass(frozen=True)
class DevTrials:
    """The trials of dev questions, sorted out."""

    unsteered: list[Trial]
    source: list[Trial]
    steered: dict[Spot, list[Trial]]
    """In the order of the spots."""


def dev_trials(trials: Sequence[Trial], objective: Objective) -> DevTrials:
    """Sort out the trials of dev questions; others are not looked at.

    Raises:
        InputError: there are no unsteered answers, or fidelity is asked for and there are none of the source.
    """
    dev = [trial for trial in trials if trial.split == "dev"]
    unsteered = [trial for trial in dev if trial.arm == "unsteered"]
    source = [trial for trial in dev if trial.arm == "source"]
    if not unsteered:
        raise InputError("the sweep has no unsteered answers to dev questions, so there is nothing to compare with.")
    if objective == "fidelity" and len({trial.question for trial in source}) < 2:
        raise InputError(
            f"fidelity is nearness to the source's own answers, and there are {len(source)} of them to dev questions "
            "(expected answers to at least 2). Give them with --responses, or choose with --objective trait."
        )
    steered: dict[Spot, list[Trial]] = {}
    for trial in dev:
        if trial.arm == "steered" and trial.spot is not None:
            steered.setdefault(trial.spot, []).append(trial)
    return DevTrials(unsteered, source, dict(sorted(steered.items())))


def choose_winner(
    trials: Sequence[Trial],
    *,
    wanted: Wanted,
    min_coherence: float,
    bootstrap: int,
    seed: int,
    objective: Objective = "fidelity",
) -> Choice:
    """Measure every condition on the dev questions and choose among them; other trials are not looked at.

    A condition that was stopped early is measured on what it answered and cannot win.

    Args:
        trials: of any split and arm.
        wanted: whether the trait score is to rise or to fall.
        min_coherence: coherence (0–100) that a winner must reach (`coherent`).
        bootstrap: resamplings of the questions for the intervals.
        seed: of the resamplings.
        objective: what the winner is chosen by.

    Raises:
        InputError: there are no unsteered answers to dev questions, or none of the source where fidelity is asked for.
    """
    dev = dev_trials(trials, objective)
    norm = norm_of(dev.unsteered, dev.source)
    unsteered = measure(dev.unsteered, norm=norm, resamples=bootstrap, seed=seed)
    yardstick = None
    if dev.source:
        scale = profile_scale(dev.source, dev.unsteered)
        yardstick = Yardstick(dev.source, dev.unsteered, scale, resamples=bootstrap, seed=seed)
    asked = max((len({t.question for t in answers}) for answers in dev.steered.values()), default=0)
    conditions = tuple(
        _condition(spot, answers, dev.unsteered, norm, yardstick, asked, min_coherence, wanted, bootstrap, seed)
        for spot, answers in dev.steered.items()
    )
    gap = yardstick.unsteered.value if yardstick else math.nan
    winner, rule = choose(
        conditions, unsteered, wanted=wanted, min_coherence=min_coherence, objective=objective, gap=gap
    )
    return Choice(unsteered, conditions, winner, rule, objective)


def _condition(
    spot: Spot,
    answers: list[Trial],
    unsteered: list[Trial],
    norm: Level,
    yardstick: Yardstick | None,
    asked: int,
    min_coherence: float,
    wanted: Wanted,
    bootstrap: int,
    seed: int,
) -> Condition:
    whole = len({trial.question for trial in answers}) == asked
    return Condition(
        **spot._asdict(),
        measured=measure(answers, norm=norm, resamples=bootstrap, seed=seed),
        eligible=whole and coherent(level_of(answers), norm, min_coherence),
        fidelity=fidelity_on(yardstick, answers) if yardstick else None,
        anti_steered=anti_steered(answers, unsteered, wanted=wanted, resamples=bootstrap, seed=seed),
    )


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
        _by_trait(eligible, unsteered, wanted, among)
        if objective == "trait"
        else _by_fidelity(eligible, unsteered, wanted, among, gap)
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


@dataclass(frozen=True)
class _Gains:
    """What may win, with what it gains: more is better, and all are above 0."""

    gains: list[tuple[float, Condition]]
    rule: str
    tie: float
    unit: str
    """What the tie is in words."""


def _by_trait(eligible: Sequence[Condition], unsteered: Measured, wanted: Wanted, among: str) -> _Gains | str:
    direction = "rise" if wanted == "more" else "fall"
    # Written so that an unscored condition (NaN) counts as one that does not move.
    gains = [(move, condition) for condition in eligible if (move := _move(condition, unsteered, wanted)) > 0]
    if not gains:
        return f"In none of the {among} does the trait score {direction} on the dev questions."
    rule = f"Among the {among} on the dev questions, the largest {direction} of the mean trait score"
    return _Gains(gains, rule, TIE["trait"], f"{TIE['trait']:g} point")


def _by_fidelity(
    eligible: Sequence[Condition], unsteered: Measured, wanted: Wanted, among: str, gap: float
) -> _Gains | str:
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
    return _Gains(right, rule, TIE["fidelity"] * gap, f"{100 * TIE['fidelity']:g}% of the unsteered target's distance")


def _move(condition: Condition, unsteered: Measured, wanted: Wanted) -> float:
    """Points by which the mean trait score moves in the wanted direction."""
    return sign(wanted) * (condition.measured.trait.mean - unsteered.trait.mean)
