"""The answers of a sweep with their measurements, and where in its grid each belongs."""

from typing import Literal, NamedTuple

from pydantic import Field

from steer_llama.records.base import Record, SplitName

Arm = Literal["unsteered", "steered", "random", "turned", "source", "prompted", "examples"]
"""Who answers: the target in one way or another, or the source."""


class Spot(NamedTuple):
    """Where and how something was steered: what a condition of the sweep is told by. They sort as they are shown."""

    vector: str
    """The vector's name; empty where the sweep has only one."""
    mode: str
    """What is done to the residual stream: ``add`` …"""
    where: str
    """At which tokens: ``all`` …"""
    layer: int
    strength: float

    def __str__(self) -> str:
        """For a sentence: the layer and strength, and what else is not the usual."""
        said = f"layer {self.layer}, strength {self.strength:g}"
        if self.mode != "add":
            said += f", {self.mode}"
        if self.where != "all":
            said += f", at {self.where} tokens"
        return f"{self.vector} at {said}" if self.vector else said


class Trial(Record):
    """One answer of the sweep or of the confirmation, with its measurements: a line of ``sweep.jsonl``."""

    key: str
    split: SplitName
    arm: Arm
    vector: str = ""
    """Name of the steering vector; empty where the sweep has only one."""
    mode: str = "add"
    """What is done to the residual stream."""
    where: str = "all"
    """At which tokens it is done."""
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
    repetition: float | None = None
    """Share of the answer, 0–1, that lies in a stretch that stood there before (`style.repetition`)."""
    coherence_score: float | None = None
    """Coherence in a judge's eyes, 0–100; ``None`` where none was asked, or could not tell."""

    @property
    def spot(self) -> Spot | None:
        """Where and how the answer was steered; ``None`` where it was not."""
        if self.layer is None or self.strength is None:
            return None
        return Spot(self.vector, self.mode, self.where, self.layer, self.strength)
