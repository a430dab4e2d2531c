"""How strengths of several vectors are tuned together."""

from typing import Literal

from pydantic import Field

from steer_llama.config.base import Settings


class TuneSettings(Settings):
    """How many combinations are tried, how they are suggested, and how the best is confirmed."""

    trials: int = Field(40, ge=0)
    """Combinations that the sampler suggests, after the fixed ones."""
    per_round: int = Field(4, gt=0)
    """Suggested at once, and answered in one batch; the sampler learns from them when all are measured."""
    patience: int = Field(16, gt=0)
    """Suggestions in a row that are no better than the best; then the search stops."""
    sampler: Literal["gp", "tpe"] = "gp"
    """Optuna's Gaussian process (fewer trials) or tree-structured Parzen estimator (no time at all per trial)."""
    questions: int | None = Field(None, gt=0)
    """Dev questions of each elicitation; default: all."""
    dev_samples: int = Field(1, gt=0)
    """Answers per dev question and combination: more of them make the distance less a matter of luck."""
    min_coherence: float = Field(60.0, ge=0, le=100)
    """A combination below this coherence score cannot win."""
    null: int = Field(0, ge=0)
    """How often the same search is done with random directions of the same norms."""
    batch_size: int = Field(32, gt=0)
    test_samples: int = Field(1, gt=0)
    """Answers per test question and arm in the confirmation."""
    bootstrap: int = Field(2000, gt=0)
    """Resamplings of the questions for the intervals."""
    seed: int = Field(0, ge=0)
    """Of the sampler, the random directions and the intervals."""
