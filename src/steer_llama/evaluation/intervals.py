"""95% bootstrap intervals over questions.

One question's answers hang together (the question itself makes an emoji likely or not), so a resampling draws
questions, each with all of its answers (a cluster bootstrap), and never single answers. Every question counts the
same, however many of its answers are scored.

Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13: the percentile interval. With few questions it
is somewhat too narrow, which is why `verdict.MIN_QUESTIONS` exists.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from steer_llama.records import Interval

Grouped = Mapping[str, Sequence[float | None]]
"""Question → the values of its answers; ``None`` is unscored and left out."""

_QUANTILES = (0.025, 0.975)


def question_means(values: Grouped) -> dict[str, float]:
    """The mean of each question's scored answers; a question without any is left out."""
    means: dict[str, float] = {}
    for question, answers in values.items():
        scored = [value for value in answers if value is not None]
        if scored:
            means[question] = float(np.mean(scored))
    return means


def mean_interval(values: Grouped, *, resamples: int, seed: int) -> Interval:
    """The mean over questions and its interval, in the unit of ``values``.

    One question gives an interval without width, none gives NaN; ``n`` says so in both cases.
    """
    return _bootstrap(question_means(values), resamples, seed)


def paired_difference_interval(values: Grouped, baseline: Grouped, *, resamples: int, seed: int) -> Interval:
    """The mean of ``values`` minus ``baseline`` question by question, over the questions that both have.

    Pairing takes the questions' own differences out, which two separate intervals would leave in.
    """
    first, second = question_means(values), question_means(baseline)
    return _bootstrap({q: first[q] - second[q] for q in first.keys() & second.keys()}, resamples, seed)


def _bootstrap(means: Mapping[str, float], resamples: int, seed: int) -> Interval:
    # Sorted, so that the order in which the answers arrived does not change the interval.
    values_N = np.array([means[question] for question in sorted(means)])
    n = len(values_N)
    if n == 0:
        return Interval(mean=float("nan"), low=float("nan"), high=float("nan"), n=0)
    drawn_RN = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    low, high = np.quantile(values_N[drawn_RN].mean(axis=1), _QUANTILES)
    return Interval(mean=float(values_N.mean()), low=float(low), high=float(high), n=n)


def paired_effect_interval(values: Grouped, baseline: Grouped, *, resamples: int, seed: int) -> Interval:
    """Cohen's d_z: the mean of the paired differences over their standard deviation (n − 1) between questions.

    Cohen (1988), Statistical power analysis, 2.3.5; Lakens (2013), Front. Psychol. 4:863, equation 7. It is of
    nothing (``n`` is 0) for fewer than two questions, and where all differences are equal: no spread, no effect size.
    """
    first, second = question_means(values), question_means(baseline)
    differences_N = np.array([first[question] - second[question] for question in sorted(first.keys() & second.keys())])
    n = len(differences_N)
    if n < 2 or np.ptp(differences_N) == 0:
        return Interval(mean=float("nan"), low=float("nan"), high=float("nan"), n=0)
    drawn_RN = differences_N[np.random.default_rng(seed).integers(0, n, size=(resamples, n))]
    spread_R = drawn_RN.std(axis=1, ddof=1)
    # A resampling of one question alone, or of equal ones, has no spread.
    known_R = spread_R > 1e-12 * np.abs(differences_N).max()
    low, high = np.quantile(drawn_RN.mean(axis=1)[known_R] / spread_R[known_R], _QUANTILES)
    return Interval(mean=float(differences_N.mean() / differences_N.std(ddof=1)), low=float(low), high=float(high), n=n)
