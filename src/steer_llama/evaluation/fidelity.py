"""Fidelity: how near a set of answers comes to the source's style.

It is the energy distance between two sets of style profiles (Székely & Rizzo 2013, Energy statistics, J. Statist.
Plann. Inference 143): 2·E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖, which is 0 only where both have the same distribution, not
only the same mean. (``scipy.stats.energy_distance`` is its root.) Where a share p of the answers is like the source's
and the rest like the target's own, it is (1 − p)² of what it was.

The estimate is a U-statistic, and unbiased: the expectation is 0 where nothing differs, so few answers are not
punished, and a single estimate may lie below 0. Answers to one question are never compared with each other, in none
of the three terms: the question makes them alike, and in a resampling they may be one and the same answer.
Every question counts the same, however many answers it has.

Shapes: N answers, M other answers, F features, Q questions, R resamplings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.evaluation.profiles import Floats, Scale, profile_of, profile_scale
from steer_llama.records import Fidelity, Interval, Trial

__all__ = ["Draws", "Scale", "Yardstick", "distance", "fidelity", "mean_draws", "profile_scale"]

_TAIL = 0.025
"""Share of the resamplings beyond either end of an interval."""


@dataclass(frozen=True)
class Draws:
    """A figure and what the resamplings make of it; NaN where it cannot be told."""

    value: float
    drawn_R: Floats
    n: int
    """Questions that it rests on."""

    def __sub__(self, other: "Draws") -> "Draws":
        """The difference, resampling by resampling: both must come from one `Yardstick`."""
        return Draws(self.value - other.value, self.drawn_R - other.drawn_R, min(self.n, other.n))

    def interval(self) -> Interval:
        """The 95% percentile interval; without bounds where more than 2.5% of the resamplings cannot tell."""
        if not math.isfinite(self.value):
            return Interval(mean=math.nan, low=math.nan, high=math.nan, n=0)
        known_R = self.drawn_R[np.isfinite(self.drawn_R)]
        if len(known_R) < max(1.0, (1 - _TAIL) * len(self.drawn_R)):
            return Interval(mean=self.value, low=math.nan, high=math.nan, n=self.n)
        low, high = np.quantile(known_R, (_TAIL, 1 - _TAIL))
        return Interval(mean=self.value, low=float(low), high=float(high), n=self.n)


def mean_draws(draws: Sequence[Draws]) -> Draws:
    """The mean of several, which is not empty, resampling by resampling."""
    drawn_R: Floats = np.mean([one.drawn_R for one in draws], axis=0)
    return Draws(float(np.mean([one.value for one in draws])), drawn_R, min(one.n for one in draws))


@dataclass(frozen=True)
class _Placed:
    """Answers as points."""

    points_NF: Floats
    """Profiles in the scale's units."""
    at_N: npt.NDArray[np.intp]
    """Which question each of them answers."""


class Yardstick:
    """Measures sets of answers against one source and one unsteered target, all on the same resamplings.

    A resampling draws questions, each with everybody's answers to it. Questions that the source alone has answered
    are drawn apart, so that every resampling has as many of the others as there are.
    """

    def __init__(
        self, source: Sequence[Trial], unsteered: Sequence[Trial], scale: Scale, *, resamples: int, seed: int
    ) -> None:
        """``scale`` is `profile_scale`'s; ``resamples`` of the questions are drawn from ``seed``."""
        shared = sorted({trial.question for trial in unsteered})
        alone = sorted({trial.question for trial in source} - set(shared))
        self._question_at = {question: index for index, question in enumerate((*shared, *alone))}
        self._scale = scale
        random = np.random.default_rng(seed)
        drawn = [
            random.multinomial(len(part), [1 / len(part)] * len(part), resamples) for part in (shared, alone) if part
        ]
        # The first row is no resampling: it is the sample itself.
        drawn_RQ = np.hstack(drawn) if drawn else np.zeros((resamples, 0))
        self._weights_RQ = np.vstack([np.ones((1, len(self._question_at))), drawn_RQ])
        self._source = self._placed(source)
        self._within_source_R = self._mean_R(self._source, self._source)
        self.unsteered = self.distance(unsteered)

    def distance(self, answers: Sequence[Trial]) -> Draws:
        """The distance from the source, of answers to questions that the source or the unsteered target has too."""
        own = self._placed(answers)
        energy_R = 2 * self._mean_R(own, self._source) - self._mean_R(own, own) - self._within_source_R
        return Draws(float(energy_R[0]), energy_R[1:], len(set(own.at_N.tolist())))

    def closed(self, distance: Draws) -> Draws:
        """The share of the unsteered target's distance that is closed: 1 is like the source, 0 like the unsteered.

        It cannot be told (NaN) where the unsteered target is no further from the source than chance may put it: where
        more than 2.5% of the resamplings find no gap.
        """
        bare = self.unsteered
        without = bare.drawn_R <= 0
        if not bare.value > 0 or without.sum() > _TAIL * len(bare.drawn_R):
            return Draws(math.nan, np.full_like(bare.drawn_R, math.nan), min(distance.n, bare.n))
        gap_R = np.where(without, math.nan, bare.drawn_R)
        return Draws(1 - distance.value / bare.value, 1 - distance.drawn_R / gap_R, min(distance.n, bare.n))

    def _placed(self, answers: Sequence[Trial]) -> _Placed:
        known = [
            (profile, self._question_at[trial.question])
            for trial in answers
            if trial.question in self._question_at and (profile := profile_of(trial)) is not None
        ]
        points_NF = np.array([profile for profile, _ in known]).reshape(len(known), len(self._scale.unit_F))
        return _Placed(points_NF / self._scale.unit_F, np.array([at for _, at in known], dtype=np.intp))

    def _mean_R(self, first: _Placed, second: _Placed) -> Floats:
        """E‖X − Y‖ over answers to different questions, under the weights of every resampling."""
        mean_QQ, there_QQ = _between_questions(first, second, len(self._question_at))
        weights_RQ = self._weights_RQ
        sums_R = ((weights_RQ @ mean_QQ) * weights_RQ).sum(axis=1)
        pairs_R = ((weights_RQ @ there_QQ) * weights_RQ).sum(axis=1)
        mean_R: Floats = np.divide(sums_R, pairs_R, out=np.full_like(sums_R, math.nan), where=pairs_R > 0)
        return mean_R


def fidelity(
    answers: Sequence[Trial],
    source: Sequence[Trial],
    unsteered: Sequence[Trial],
    scale: Scale,
    *,
    resamples: int,
    seed: int,
) -> Fidelity:
    """How near ``answers`` come to the source's style, and what share of the unsteered target's distance they close.

    Args:
        answers: of one condition or arm.
        source: the source's answers; those to other questions than the target's count too.
        unsteered: the unsteered target's answers to the same questions as ``answers``.
        scale: of `profile_scale`, the same for everything that is to be compared.
        resamples: resamplings of the questions for the intervals.
        seed: of the resamplings.
    """
    yardstick = Yardstick(source, unsteered, scale, resamples=resamples, seed=seed)
    return fidelity_on(yardstick, answers)


def fidelity_on(yardstick: Yardstick, answers: Sequence[Trial]) -> Fidelity:
    """As `fidelity`, for several sets of answers that are measured on the same resamplings."""
    found = yardstick.distance(answers)
    return Fidelity(distance=found.interval(), closed=yardstick.closed(found).interval())


def distance(answers: Sequence[Trial], source: Sequence[Trial], scale: Scale) -> float:
    """The energy distance between two sets of answers; NaN where either has fewer than two questions."""
    return Yardstick(source, answers, scale, resamples=0, seed=0).unsteered.value


def _between_questions(first: _Placed, second: _Placed, questions: int) -> tuple[Floats, Floats]:
    """Mean distance (Q, Q) of answers to one question from answers to another, and where there are any (1 or 0)."""
    gaps_NM = np.sqrt(((first.points_NF[:, None] - second.points_NF[None]) ** 2).sum(axis=-1))
    answers_QN, answers_QM = np.eye(questions)[:, first.at_N], np.eye(questions)[:, second.at_N]
    counts_QQ = np.outer(answers_QN.sum(axis=1), answers_QM.sum(axis=1))
    np.fill_diagonal(counts_QQ, 0)
    there_QQ = (counts_QQ > 0).astype(np.float64)
    return answers_QN @ gaps_NM @ answers_QM.T / np.maximum(counts_QQ, 1) * there_QQ, there_QQ
