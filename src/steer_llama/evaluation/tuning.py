"""Searching the strengths of several vectors together: the nearest to the source among what stays coherent.

The points that everybody would try are measured first (`fixed_points`), and the best of *all* points is taken: so the
result is never worse than any of them on the questions that it is chosen on.

Then Optuna suggests, several at once (batched ask and tell): its Gaussian process with expected improvement, or
multivariate TPE (Watanabe 2023, arXiv 2304.11127). The coherence is a constraint and not a penalty: what is too
incoherent is told with its true distance and as infeasible, so that the sampler learns both surfaces. Suggestions are
rounded to a thousandth. With the same seed and the same outcomes the same points are suggested again.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import optuna

from steer_llama.errors import InputError

Strengths = tuple[float, ...]
"""One per vector."""

_DECIMALS = 3
_CONSTRAINT = "incoherence"
_UNMEASURED = 100.0
"""Points below the minimum that a combination counts as whose coherence cannot be measured."""


@dataclass(frozen=True)
class Outcome:
    """What a combination came to."""

    distance: float
    """From the source's style; NaN where it cannot be told."""
    coherence: float | None


@dataclass(frozen=True)
class Point:
    """A combination with its outcome."""

    strengths: Strengths
    outcome: Outcome
    suggested: bool = False

    def eligible(self, min_coherence: float) -> bool:
        """Whether it may win."""
        coherent = self.outcome.coherence is not None and self.outcome.coherence >= min_coherence
        return coherent and math.isfinite(self.outcome.distance)


Evaluate = Callable[[Sequence[Strengths]], Sequence[Outcome]]
"""Measures combinations, all at once."""


def fixed_points(bounds: Sequence[tuple[float, float]], recommended: Sequence[float | None]) -> list[Strengths]:
    """What is always tried: nothing, and each vector alone at its bounds, at half of them, and as recommended."""
    points = [(0.0,) * len(bounds)]
    for place, ((low, high), own) in enumerate(zip(bounds, recommended, strict=True)):
        points += [
            tuple(strength if other == place else 0.0 for other in range(len(bounds)))
            for strength in (low, low / 2, high / 2, high, own)
            if strength
        ]
    return list(dict.fromkeys(points))


def best_alone(points: Sequence[Point], place: int, min_coherence: float) -> float:
    """The strength at which the vector at ``place`` does best without the others; 0 where none is coherent."""
    alone = [
        point
        for point in points
        if point.strengths[place] and not any(point.strengths[:place] + point.strengths[place + 1 :])
    ]
    winner = _nearest(alone, min_coherence)
    return winner.strengths[place] if winner else 0.0


def best(points: Sequence[Point], min_coherence: float) -> Point:
    """The nearest of those that are coherent enough; of equals the weaker.

    Raises:
        InputError: none is.
    """
    winner = _nearest(points, min_coherence)
    if winner is None:
        raise InputError(
            f"none of {len(points)} combinations keeps a coherence of {min_coherence:g} and has a distance, not even "
            "the unsteered target. Ask more questions (at least two with answers of the source), or lower "
            "--min-coherence."
        )
    return winner


def _nearest(points: Sequence[Point], min_coherence: float) -> Point | None:
    eligible = [point for point in points if point.eligible(min_coherence)]
    return min(eligible, key=lambda point: (point.outcome.distance, sum(map(abs, point.strengths))), default=None)


def search(
    evaluate: Evaluate,
    bounds: Sequence[tuple[float, float]],
    known: Sequence[Point],
    *,
    trials: int,
    per_round: int,
    patience: int,
    min_coherence: float,
    sampler: Literal["gp", "tpe"],
    seed: int,
) -> list[Point]:
    """The known points and those that were suggested after them, in the order in which they were tried.

    Args:
        evaluate: measures combinations; called once a round, and never twice for one combination.
        bounds: lowest and highest strength of each vector.
        known: points that were measured before; the sampler learns from them.
        trials: suggestions at most.
        per_round: suggestions at once.
        patience: suggestions in a row without a better one, after which it stops (looked at after each round).
        min_coherence: coherence score (0–100) that the best must reach.
        sampler: which of Optuna's.
        seed: of the sampler.
    """
    points = list(known)
    outcomes = {point.strengths: point.outcome for point in points}
    space = {str(place): optuna.distributions.FloatDistribution(low, high) for place, (low, high) in enumerate(bounds)}
    with _quiet():
        study = optuna.create_study(sampler=_sampler(sampler, seed, len(points) + per_round))
        for point in points:
            study.enqueue_trial({str(place): strength for place, strength in enumerate(point.strengths)})
            _tell(study, study.ask(dict(space)), point.outcome, min_coherence)
        left, waited = trials, 0
        while left > 0 and waited < patience:
            asked = [study.ask(dict(space)) for _ in range(min(per_round, left))]
            suggested = [_rounded(trial, bounds) for trial in asked]
            new = [strengths for strengths in dict.fromkeys(suggested) if strengths not in outcomes]
            outcomes |= zip(new, evaluate(new) if new else (), strict=True)
            before = _nearest(points, min_coherence)
            points += [Point(strengths, outcomes[strengths], suggested=True) for strengths in new]
            for trial, strengths in zip(asked, suggested, strict=True):
                _tell(study, trial, outcomes[strengths], min_coherence)
            left -= len(asked)
            waited = waited + len(asked) if _nearest(points, min_coherence) is before else 0
    return points


def _rounded(trial: optuna.Trial, bounds: Sequence[tuple[float, float]]) -> Strengths:
    """The suggestion to a thousandth, within the bounds, and never −0."""
    return tuple(
        min(max(round(trial.params[str(place)], _DECIMALS), low), high) + 0.0
        for place, (low, high) in enumerate(bounds)
    )


def _tell(study: optuna.Study, trial: optuna.Trial, outcome: Outcome, min_coherence: float) -> None:
    if not math.isfinite(outcome.distance):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    below = _UNMEASURED if outcome.coherence is None else min_coherence - outcome.coherence
    trial.set_constraint(_CONSTRAINT, below)  # at most 0 is feasible
    study.tell(trial, outcome.distance)


def _sampler(name: Literal["gp", "tpe"], seed: int, startup: int) -> optuna.samplers.BaseSampler:
    """``startup``: finished trials before which it draws at random, which gives the first round off the axes."""
    if name == "gp":
        # What is measured is a sample: two strengths that hardly differ may give quite different answers.
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, deterministic_objective=False)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's lines for every trial, and its warnings that an argument is new, are not for our user."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
