"""What `tune` writes: the strengths of several vectors together, what they came to, and how they interfere."""

from typing import Literal

from pydantic import Field

from steer_llama.records import Fidelity, Interval, Record, Trial


class TunedTrial(Trial):
    """One answer under a combination of vectors: a line of the journal."""

    strengths: dict[str, float] = Field(default_factory=dict)
    """By the vectors' names; those at 0 are left out."""


class TunedSteer(Record):
    """One vector of the combination, as it is to be added."""

    name: str
    path: str
    """From the folder of the file that says so, or absolute."""
    digest: str
    """SHA-256 of the vector's file."""
    layer: int
    strength: float
    """‖coefficient·v‖ over the mean residual norm at the layer; the sign is the coefficient's."""
    coefficient: float
    """What the direction is multiplied by."""


class TunedVector(Record):
    """One vector that was given, whether or not it is in the combination."""

    name: str
    path: str
    digest: str
    trait: str
    metric: str
    """The measured feature that stands for its trait."""
    layer: int
    low: float
    high: float
    """The strengths that were allowed."""
    recommended: float | None
    """The vector's own recommendation; ``None`` where it has none."""
    best_alone: float
    """The strength at which it does best without the others, on dev questions; 0 where none keeps the coherence."""


class Tried(Record):
    """One combination, on dev questions."""

    strengths: dict[str, float]
    suggested: bool
    """By the sampler; the others are always tried."""
    distance: float | None
    """Energy distance from the source's style profiles."""
    coherence: float | None
    eligible: bool
    """Whether its coherence reaches the minimum."""


class TunedArm(Record):
    """One arm of the confirmation, on test questions."""

    arm: Literal["unsteered", "tuned", "recommended", "alone", "null"]
    label: str
    strengths: dict[str, float]
    answers: int
    fidelity: Fidelity
    coherence: Interval | None
    """Coherence score, 0–100."""
    traits: dict[str, Interval]
    """Trait score of each vector's feature, 0–100, by the vectors' names."""


class Margin(Record):
    """The tuned combination against another arm, on the same test questions."""

    over: str
    """The other arm's label."""
    distance: Interval
    """The tuned one's distance from the source minus the other's (paired): below 0 it is nearer."""


class Cosine(Record):
    """How alike two vectors are at a layer that one of them is used at."""

    first: str
    second: str
    layer: int
    cosine: float


class Effect(Record):
    """What a vector alone, at its strength in the combination (`Interference.strengths`), does to a trait's feature."""

    vector: str
    trait: str
    """The name of the vector whose feature is measured."""
    points: Interval
    """Trait score minus the unsteered target's (paired)."""


class Additivity(Record):
    """What the combination does to a trait's feature, beside the sum of what its vectors do alone."""

    trait: str
    together: Interval
    """Points, of the combination."""
    added_up: Interval
    """Points, the sum of the single effects."""
    gap: Interval
    """Together minus added up (paired); the scale ends at 0 and 100, so a part of it may be the scale's."""


class Kept(Record):
    """How much of a vector's effect on its own feature remains when the others are there."""

    vector: str
    alone: Interval
    """Points, over the unsteered target."""
    in_company: Interval
    """Points, of the combination over the same without this vector."""
    share: Interval | None
    """In company over alone; ``None`` where the effect alone may be nothing, so that there is no share of it."""


class Interference(Record):
    """How far the vectors get into each other's way, on test questions."""

    strengths: dict[str, float]
    """In which combination: the tuned one, or the recommended one where the tuned leaves a vector out."""
    cosines: tuple[Cosine, ...]
    effects: tuple[Effect, ...]
    additivity: tuple[Additivity, ...]
    kept: tuple[Kept, ...]


class Tuned(Record):
    """What the tuning found: ``steers.json``."""

    model: str
    model_fingerprint: str
    dtype: str
    source_name: str
    elicitations: tuple[str, ...]
    dev_questions: int
    test_questions: int
    sampling: dict[str, float]
    """How the answers were drawn; it holds under this sampling."""
    sampler: str
    min_coherence: float
    rule: str
    """How the combination was chosen, in a sentence."""
    vectors: tuple[TunedVector, ...]
    steers: tuple[TunedSteer, ...]
    """The combination; a vector whose best strength is 0 is not in it."""
    distance: float
    """The combination's on dev questions, on which it was chosen; `arms` has what was confirmed."""
    coherence: float
    """On dev questions."""
    tried: tuple[Tried, ...]
    null_tried: tuple[tuple[Tried, ...], ...]
    """The same search with random directions, once each."""
    arms: tuple[TunedArm, ...]
    margins: tuple[Margin, ...]
    interference: Interference
    sentence: str
