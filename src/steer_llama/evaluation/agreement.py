"""How far two scorers agree: a pair of judges, or a judge and a measured feature.

Not part of the room's face: scikit-learn takes seconds to import, which only ``compare`` should wait for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from steer_llama.errors import InputError
from steer_llama.evaluation.correlation import correlation

Decision = Literal["source", "target", "neither"]


@dataclass(frozen=True)
class ScoreAgreement:
    """Two scores for each of the same answers."""

    answers: int
    pearson: float | None
    """``None`` for fewer than two answers, or where one scorer gives all the same score."""
    spearman: float | None
    """Of the ranks; ``None`` as above."""
    mean_difference: float | None
    """First minus second, in points; ``None`` without answers."""
    mean_absolute_difference: float | None
    """In points; ``None`` without answers."""


@dataclass(frozen=True)
class DecisionAgreement:
    """Two decisions for each of the same pairs."""

    pairs: int
    agreement: float | None
    """Share of pairs with the same decision, 0–1; ``None`` without pairs."""
    kappa: float | None
    """Cohen's: agreement beyond chance, 1 at most; ``None`` where chance agrees always (all decisions are one)."""
    counts: dict[str, int]
    """Pairs by both decisions, as ``source/neither``."""


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho; ``None`` as in `correlation`."""
    if len(first) < 2 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)


def agree_on_scores(first: Sequence[float], second: Sequence[float]) -> ScoreAgreement:
    """Compare two scorers answer by answer.

    Raises:
        InputError: they have not scored the same number of answers.
    """
    _same_length(first, second)
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return ScoreAgreement(
        answers=len(differences),
        pearson=correlation(first, second),
        spearman=rank_correlation(first, second),
        mean_difference=float(np.mean(differences)) if differences else None,
        mean_absolute_difference=float(np.mean(np.abs(differences))) if differences else None,
    )


def decide(difference: float, threshold: float) -> Decision:
    """Which of two answers scores higher by more than the threshold; the difference is source minus target."""
    if abs(difference) <= threshold:
        return "neither"
    return "source" if difference > 0 else "target"


def agree_on_decisions(first: Sequence[Decision], second: Sequence[Decision]) -> DecisionAgreement:
    """Compare two scorers pair by pair.

    Raises:
        InputError: they have not decided on the same number of pairs.
    """
    _same_length(first, second)
    counts: dict[str, int] = {}
    for a, b in zip(first, second, strict=True):
        counts[f"{a}/{b}"] = counts.get(f"{a}/{b}", 0) + 1
    if not first:
        return DecisionAgreement(0, None, None, counts)
    same = sum(a == b for a, b in zip(first, second, strict=True))
    # One decision throughout on both sides: chance would agree as well, and kappa is 0 / 0.
    constant = len({*first, *second}) == 1
    kappa = None if constant else float(cohen_kappa_score(list(first), list(second)))
    return DecisionAgreement(len(first), same / len(first), kappa, dict(sorted(counts.items())))


def _same_length(first: Sequence[object], second: Sequence[object]) -> None:
    if len(first) != len(second):
        raise InputError(f"{len(first)} and {len(second)} values to compare, expected the same number of both.")
