"""What the sweep writes: trials, what they came to, and the verdict."""

import math
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from steer_llama.records.base import Record, SplitName


class Trial(Record):
    """One answer of the sweep or of the confirmation, with its measurements: a line of ``sweep.jsonl``."""

    key: str
    split: SplitName
    arm: Literal["unsteered", "steered", "random", "source", "prompted"]
    layer: int | None = None
    strength: float | None = None
    """‖coefficient·v‖ over the mean residual norm at the layer."""
    direction: int | None = None
    """Which random direction (its seed)."""
    sample: int = 0
    question: str
    text: str
    finish_reason: str
    trait_score: float | None = None
    trait_count: int | None = None
    """How often the measured feature occurs in the answer."""
    features: dict[str, float] = Field(default_factory=dict)
    """Style profile of the answer, per 100 words."""
    tokens: int = 0
    """Answer tokens under the target's tokenizer."""
    nll: float | None = None
    """Sum of −ln p of those tokens under the unsteered target, in nats."""
    distinct_2: float | None = None
    """Distinct word bigrams over all word bigrams; ``None`` where there are fewer than two words."""


class Interval(Record):
    """An estimate with its 95% bootstrap interval; NaN where it rests on nothing (``null`` in JSON, ``n`` is 0)."""

    model_config = ConfigDict(ser_json_inf_nan="null")

    mean: float
    low: float
    high: float
    n: int
    """Questions that it rests on (they are what is resampled, since one question's answers hang together)."""

    @field_validator("mean", "low", "high", mode="before")
    @classmethod
    def _unknown(cls, value: Any) -> Any:
        return math.nan if value is None else value


class Fidelity(Record):
    """How near a set of answers comes to the source's style (`evaluation.fidelity`)."""

    distance: Interval
    """Energy distance between its style profiles and the source's (the metric, in units of the scale); 0 is none."""
    closed: Interval
    """Share of the unsteered target's distance that is closed: 1 is like the source, 0 like the unsteered target."""


class Measured(Record):
    """What a set of answers came to."""

    answers: int
    trait: Interval
    """Trait score, 0–100."""
    share: Interval
    """Share of answers in which the measured feature occurs at all, 0–1."""
    perplexity: float | None
    """exp of the mean nats per answer token under the unsteered target."""
    distinct_2: float | None
    """Mean over the answers; an answer of fewer than two words counts as 0."""
    coherence: float | None
    """0–100: 100 times how near perplexity, distinct-2 and words come to those of the unsteered target or of the
    source, whichever is easier to reach (`evaluation.coherence`)."""
    words: float
    """Mean words per answer; emoji are none."""
    profile: dict[str, float]
    """Mean style features."""


class Condition(Record):
    """One layer × strength of the sweep, on dev questions."""

    layer: int
    strength: float
    measured: Measured
    eligible: bool
    """Whether its coherence reaches the minimum."""


class TestArm(Record):
    """One arm of the confirmation, on test questions."""

    __test__ = False  # not a test class, whatever its name looks like to pytest

    arm: str
    """``unsteered``, ``steered``, ``random``, ``source``, ``prompted``."""
    label: str
    measured: Measured
    lift_share: Interval | None = None
    """Share minus the unsteered target's on the same questions (paired)."""
    lift_trait: Interval | None = None
    """Trait score minus the unsteered target's on the same questions (paired)."""
    coherence_interval: Interval | None = None
    """Coherence score, with its interval."""


class Verdict(Record):
    """What the sweep found: ``verdict.json``."""

    trait: str
    metric: str
    model: str
    source_name: str
    target_name: str
    wanted: Literal["more", "less"]
    """Whether the source shows more or less of the feature than the target."""
    unsteered: Measured
    """The unsteered target on dev questions."""
    conditions: tuple[Condition, ...]
    winner: Condition | None
    rule: str
    """How the winner was chosen, in a sentence."""
    min_coherence: float
    """Coherence score (0–100) that a winner has to reach."""
    sampling: dict[str, float] = Field(default_factory=dict)
    """How the answers were drawn: ``temperature``, ``top_p``, ``repetition_penalty``. It holds under this sampling."""
    arms: tuple[TestArm, ...]
    over_random: Interval | None
    """Trait score of the steered minus the mean over the random directions on the same questions (paired)."""
    decision: Literal["use", "prompt", "no"]
    sentence: str
