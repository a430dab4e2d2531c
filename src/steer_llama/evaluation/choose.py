"""Choosing the winner among the sweep's conditions, on dev questions only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from steer_llama.errors import InputError
from steer_llama.evaluation.anti_steered import anti_steered
from steer_llama.evaluation.coherence import Level, least_coherence, level_of, norm_of
from steer_llama.evaluation.fidelity import Yardstick, fidelity_on, profile_scale
from steer_llama.evaluation.measured import measure
from steer_llama.evaluation.wanted import Wanted
from steer_llama.evaluation.winning import Objective, choose
from steer_llama.records import Condition, Measured, Spot, Trial


@dataclass(frozen=True)
class Choice:
    """What the dev questions say."""

    unsteered: Measured
    conditions: tuple[Condition, ...]
    """In the order of their spots."""
    winner: Condition | None
    rule: str
    """How the winner was chosen, or why there is none, in a sentence."""
    objective: Objective
    gap: float
    """The unsteered target's own distance from the source; NaN without answers of the source."""


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
        min_coherence: coherence (0–100) that a winner must reach (`least_coherence`).
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
    return Choice(unsteered, conditions, winner, rule, objective, gap)


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
        eligible=whole and (least_coherence(level_of(answers), norm) or 0.0) >= min_coherence,
        fidelity=fidelity_on(yardstick, answers) if yardstick else None,
        anti_steered=anti_steered(answers, unsteered, wanted=wanted, resamples=bootstrap, seed=seed),
    )
