"""One judgement, and what several of the same answer come to."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """What one reply of the judge says: a score, or why there is none."""

    score: float | None
    """0–100; ``None`` is unscored, which is never 0."""
    reason: str | None = None
    """Why it is unscored."""
    mass: float | None = None
    """Probability that lay on the numbers 0–100, where the score is an expectation over them."""

    @classmethod
    def unscored(cls, reason: str, mass: float | None = None) -> "Judgement":
        """No score, for this reason."""
        return cls(None, reason, mass)


@dataclass(frozen=True)
class Score:
    """What the judgements of one answer come to."""

    value: float | None
    """Mean of the judgements that have a score; ``None`` where none has."""
    reason: str | None = None
    """Why it is unscored."""
    spread: float | None = None
    """Standard deviation over the judgements that have a score; ``None`` for fewer than two."""
    mass: float | None = None
    """Mean probability on numbers, where it is known."""
    judgements: int = 0
    scored: int = 0
    """Judgements that have a score."""


def over_repeats(judgements: Sequence[Judgement]) -> Score:
    """The mean of the judgements that have a score; those that have none are left out, and counted."""
    scores = [judgement.score for judgement in judgements if judgement.score is not None]
    masses = [judgement.mass for judgement in judgements if judgement.mass is not None]
    # Of the scored ones alone: what an unscored one had on numbers says nothing about the mean.
    scored_masses = [j.mass for j in judgements if j.mass is not None and j.score is not None]
    reasons = [judgement.reason for judgement in judgements if judgement.reason is not None]
    mass_of = scored_masses or masses
    return Score(
        value=statistics.fmean(scores) if scores else None,
        reason=None if scores else next(iter(reasons), "nothing was judged"),
        spread=statistics.stdev(scores) if len(scores) > 1 else None,
        mass=statistics.fmean(mass_of) if mass_of else None,
        judgements=len(judgements),
        scored=len(scores),
    )
