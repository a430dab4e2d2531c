"""Successive halving: what the sweep asks next, so that the best condition is found without answering everything.

All conditions answer a few questions, the better of them some more, and the last few all of them. A round's money goes
to those that may still win (Karnin, Koren & Somekh 2013, Almost optimal exploration in multi-armed bandits; Jamieson &
Talwalkar 2016, Non-stochastic best arm identification, arXiv 1502.07943). Neighbours in layer and strength do much the
same, so that the first round, which has two or three answers of each, judges a condition by its neighbours' too.

Everything here is computed from the trials so far: the same trials give the same next step, whenever they were written.

Shapes: C conditions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steer_llama.evaluation.choose import DevTrials, dev_trials
from steer_llama.evaluation.coherence import least_coherence, level_of, norm_of
from steer_llama.evaluation.fidelity import Yardstick, profile_scale
from steer_llama.evaluation.intervals import question_means
from steer_llama.evaluation.measured import by_question, trait_of
from steer_llama.evaluation.smoothing import smoothed
from steer_llama.evaluation.wanted import Wanted, sign
from steer_llama.evaluation.winning import Objective
from steer_llama.records import Spot, Trial

MIDDLE, LAST = 0.37, 0.18
"""Share of the conditions that are asked in the second and in the last round."""
FIRST_ASKED, MIDDLE_ASKED = 1 / 6, 5 / 12
"""Share of the questions that they have answered after the first and after the second round."""
WIDTHS = (0.5, 0.3)
"""How far a condition is judged by its neighbours after the first and after the second round, in steps of the grid."""
BROKEN = 0.5
"""Share of the minimum coherence below which a condition is stopped for good after the first round."""
SLACK = 0.75
"""Share of it below which one is asked only if there is nothing better: a few answers do not tell exactly."""


@dataclass(frozen=True)
class Round:
    """How many conditions have answered how many questions when it is over."""

    conditions: int
    questions: int


@dataclass(frozen=True)
class Step:
    """What to ask next."""

    pairs: tuple[tuple[Spot, str], ...]
    """Conditions and questions that are not answered yet; empty when the winner is known."""
    alive: tuple[Spot, ...]
    """What may still win."""
    number: int
    """Of the round, from 0."""
    note: str
    """What the round is, in a sentence."""


def rounds(conditions: int, questions: int) -> tuple[Round, ...]:
    """The plan for that many conditions and questions: 36% of all answers where both are many.

    A grid that is too small for halving is answered whole: fewer than eight conditions, or than four questions.
    """
    if conditions < 8 or questions < 4:
        return (Round(conditions, questions),)
    first = max(2, round(FIRST_ASKED * questions))
    middle = max(first + 1, round(MIDDLE_ASKED * questions))
    return (
        Round(conditions, first),
        Round(max(4, round(MIDDLE * conditions)), middle),
        Round(max(3, round(LAST * conditions)), questions),
    )


def next_step(
    spots: Sequence[Spot],
    questions: Sequence[str],
    trials: Sequence[Trial],
    *,
    wanted: Wanted,
    min_coherence: float,
    objective: Objective,
) -> Step:
    """Which conditions answer which questions next.

    Args:
        spots: all conditions of the grid, in any order.
        questions: the dev questions, in the order in which they are asked.
        trials: those so far, scored: the unsteered answers to all dev questions, for fidelity the source's too, and
            what was steered. What a round had not asked for does not change what it decides.
        wanted: whether the trait score is to rise or to fall.
        min_coherence: coherence (0–100) that a winner must reach.
        objective: what the winner will be chosen by.

    Raises:
        InputError: there are no unsteered answers to dev questions, or none of the source where fidelity is asked for.
    """
    dev = dev_trials(trials, objective)
    answered = {(spot, trial.question) for spot, answers in dev.steered.items() for trial in answers}
    alive = tuple(sorted(set(spots)))
    plan = rounds(len(alive), len(questions))
    number = 0
    for number, part in enumerate(plan):
        if number:
            asked = questions[: plan[number - 1].questions]
            seen = _first_answers(dev, alive, asked)
            alive = _survivors(seen, number - 1, part.conditions, wanted, min_coherence, objective)
        missing = tuple((s, q) for s in alive for q in questions[: part.questions] if (s, q) not in answered)
        if missing:
            note = f"round {number + 1} of {len(plan)}: {len(alive)} of {len(set(spots))} conditions answer "
            return Step(missing, alive, number, note + f"{part.questions} of {len(questions)} questions")
    return Step((), alive, number, f"all {len(alive)} conditions of the last round have answered every question")


def _first_answers(dev: DevTrials, alive: Sequence[Spot], asked: Sequence[str]) -> DevTrials:
    """What a round is judged by: the answers to what was asked in it; of the source and the unsteered all."""
    known = set(asked)
    steered = {spot: [t for t in dev.steered[spot] if t.question in known] for spot in alive}
    return DevTrials(dev.unsteered, dev.source, steered)


def _survivors(
    dev: DevTrials, number: int, count: int, wanted: Wanted, min_coherence: float, objective: Objective
) -> tuple[Spot, ...]:
    """The ``count`` best, in the order of their spots; after the first round without what is clearly broken."""
    spots = list(dev.steered)
    asked = {trial.question for answers in dev.steered.values() for trial in answers}
    norm = norm_of(
        [trial for trial in dev.unsteered if trial.question in asked] or dev.unsteered,
        [trial for trial in dev.source if trial.question in asked] or dev.source,
    )
    coherence_C = np.array([least_coherence(level_of(dev.steered[spot]), norm) or 0.0 for spot in spots])
    if number == 0:
        whole = [spot for spot, value in zip(spots, coherence_C, strict=True) if value >= BROKEN * min_coherence]
        coherence_C = coherence_C[[spots.index(spot) for spot in whole]]
        spots = whole
    if not spots:
        return ()
    sound_C = coherence_C >= SLACK * min_coherence
    move_C = np.array([sign(wanted) * _lift(dev.steered[spot], dev.unsteered) for spot in spots])
    worth_C = -_distances(dev, spots) if objective == "fidelity" else move_C
    # An unscored condition does not move, and an unmeasured one is no nearer than the furthest.
    move_C, worth_C = np.nan_to_num(move_C, nan=-np.inf), np.where(np.isnan(worth_C), np.nanmin([*worth_C, 0]), worth_C)
    near_C = smoothed(spots, worth_C, sound_C, WIDTHS[number])
    right_C = smoothed(spots, np.maximum(move_C, -100), sound_C, WIDTHS[number]) >= 0
    best = np.lexsort((np.arange(len(spots)), -near_C, ~right_C, ~sound_C))[:count]
    return tuple(spots[at] for at in sorted(best.tolist()))


def _distances(dev: DevTrials, spots: Sequence[Spot]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Distance of each condition from the source's style."""
    scale = profile_scale(dev.source, dev.unsteered)
    yardstick = Yardstick(dev.source, dev.unsteered, scale, resamples=0, seed=0)
    return np.array([yardstick.distance(dev.steered[spot]).value for spot in spots])


def _lift(answers: Sequence[Trial], unsteered: Sequence[Trial]) -> float:
    """Points by which the trait score lies above the unsteered target's on the same questions; NaN if unscored."""
    own: Mapping[str, float] = question_means(by_question(answers, trait_of))
    bare = question_means(by_question(unsteered, trait_of))
    shared = own.keys() & bare.keys()
    return float(np.mean([own[q] - bare[q] for q in sorted(shared)])) if shared else float("nan")
