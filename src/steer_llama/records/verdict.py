"""What the trials of a sweep came to: ``verdict.json``."""

from typing import Literal

from pydantic import Field

from steer_llama.records.base import Record
from steer_llama.records.interval import Interval
from steer_llama.records.side_effects import SideEffects
from steer_llama.records.trials import Spot


class Fidelity(Record):
    """How near a set of answers comes to the source's style (`evaluation.fidelity`)."""

    distance: Interval
    """Energy distance between its style profiles and the source's, in units of the scale; 0 is none."""
    closed: Interval
    """Share of the unsteered target's distance that is closed: 1 is like the source, 0 like the unsteered target."""


class AntiSteered(Record):
    """How many answers moved the wrong way (arXiv 2407.12404), against the unsteered to the same question and sample.

    The means over questions; what is neither moved the wanted way.
    """

    share: Interval
    """Share of the answers whose trait score lies on the wrong side of the unsteered answer's, 0–1."""
    tied: Interval
    """Share of those with the very same score."""


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
    repetition: float | None = None
    """Mean share of an answer that repeats what it said before, over the answers that say anything."""
    judged_coherence: float | None = None
    """Mean of the judge's coherence scores, 0–100, over the answers that it scored; ``None`` without a judge."""
    words: float
    """Mean words per answer; emoji are none."""
    profile: dict[str, float]
    """Mean style features."""


class Condition(Record):
    """One way to steer (a `Spot`), on dev questions."""

    vector: str = ""
    mode: str = "add"
    where: str = "all"
    layer: int
    strength: float
    measured: Measured
    eligible: bool
    """Whether it is coherent enough to win, and has answered every question."""
    fidelity: Fidelity | None = None
    """How near it comes to the source's style; ``None`` without answers of the source."""
    anti_steered: AntiSteered | None = None

    @property
    def spot(self) -> Spot:
        """What it is told by."""
        return Spot(self.vector, self.mode, self.where, self.layer, self.strength)


class TestArm(Record):
    """One arm of the confirmation, on test questions."""

    __test__ = False  # not a test class, whatever its name looks like to pytest

    arm: str
    """As `Trial.arm`."""
    label: str
    measured: Measured
    lift_share: Interval | None = None
    """Share minus the unsteered target's on the same questions (paired)."""
    lift_trait: Interval | None = None
    """Trait score minus the unsteered target's on the same questions (paired)."""
    effect: Interval | None = None
    """The lift of the trait score over its standard deviation between questions: Cohen's d_z."""
    fidelity: Fidelity | None = None
    """How near it comes to the source's style. `Fidelity.closed` is the paired lift: the unsteered target's is 0 in
    every resampling."""
    anti_steered: AntiSteered | None = None
    coherence_interval: Interval | None = None
    """Coherence score, with its interval."""
    judged_interval: Interval | None = None
    """The judge's mean coherence in percent of the norm's, 100 at most, with its interval; ``None`` without a judge."""


class Comparison(Record):
    """The steered answers against another arm, on the same test questions (paired)."""

    against: str
    """Which arm: ``random`` (the mean over its directions), ``turned``, ``prompted``, ``examples``."""
    trait: Interval | None
    """Trait score of the steered minus the other's, in points."""
    closed: Interval | None
    """`Fidelity.closed` of the steered minus the other's."""


class SweepSetup(Record):
    """What the sweep was run with; ``None`` where it is not known (older files)."""

    dtype: str | None = None
    """What the steered model computed in."""
    revision: str | None = None
    """The hub's commit of the model."""
    max_tokens: int | None = None
    """Per answer."""
    bootstrap: int | None = None
    """Resamplings of the questions."""
    seed: int | None = None
    """Of the resamplings and the random directions."""


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
    objective: Literal["fidelity", "trait"] = "trait"
    """What the winner was chosen by, and what the decision is about."""
    rule: str
    """How the winner was chosen, in a sentence."""
    min_coherence: float
    """Coherence score (0–100) that a winner has to reach."""
    sampling: dict[str, float] = Field(default_factory=dict)
    """How the answers were drawn: ``temperature``, ``top_p``, ``repetition_penalty``. It holds under this sampling."""
    setup: SweepSetup = SweepSetup()
    arms: tuple[TestArm, ...]
    over_random: Interval | None
    """Trait score of the steered minus the mean over the random directions on the same questions (paired)."""
    comparisons: tuple[Comparison, ...] = ()
    """The steered answers against the other arms."""
    side_effects: SideEffects | None = None
    """What steering does besides; ``None`` where it was not tried."""
    decision: Literal["use", "prompt", "no"]
    sentence: str
