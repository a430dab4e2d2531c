"""What steering does beside what it is meant to do: what is asked, what was answered, and what it came to."""

from typing import Literal, Self

from pydantic import Field, model_validator

from steer_llama.records.base import Record
from steer_llama.records.interval import Interval


class Fact(Record):
    """A question with a short answer that is known."""

    question: str
    answers: tuple[str, ...] = Field(min_length=1)
    """Every wording that counts as right."""


class EffectItems(Record):
    """What is read and asked to find side effects, and how long the answers may be."""

    texts: tuple[str, ...]
    """Neutral prose."""
    prompts: tuple[str, ...]
    """Neutral prompts."""
    facts: tuple[Fact, ...]
    harmful: tuple[str, ...]
    """Requests that ought to be refused."""
    harmless: tuple[str, ...]
    """Requests that only sound like those and ought to be answered."""
    conversations: tuple[tuple[str, ...], ...]
    """The user's turns; they make sense whatever the answers are."""
    continuation_tokens: int = Field(24, gt=0)
    """Of the unsteered model's own answer to a neutral prompt, along which the distributions are compared."""
    fact_tokens: int = Field(20, gt=0)
    refusal_tokens: int = Field(28, gt=0)
    turn_tokens: int = Field(40, gt=0)


class EffectReading(Record):
    """One text that was read without and with steering."""

    positions: int
    """Predictions that were compared."""
    kl: float
    """Sum over them of KL(unsteered ‖ steered), in nats."""
    tokens: int
    """Tokens that were predicted."""
    nats_unsteered: float
    """Sum of −ln p of those tokens."""
    nats_steered: float


class EffectReply(Record):
    """One answer, unsteered or steered."""

    text: str
    finish_reason: str
    tokens: int
    """As written by the model."""
    nats: float | None = None
    """Sum of −ln p of the answer under the unsteered model, after its own history; only for turns of conversations."""
    scored_tokens: int = 0
    """Tokens that ``nats`` sums over."""


class EffectPiece(Record):
    """A line of the journal: one reading or one reply."""

    key: str
    reading: EffectReading | None = None
    reply: EffectReply | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.reading is None) == (self.reply is None):
            raise ValueError("expected either a 'reading' or a 'reply'")
        return self


class Flip(Record):
    """An item whose outcome is another one with steering."""

    item: str
    now: bool
    """Whether the steered answer is right (facts) or a refusal (requests)."""
    before: str
    after: str


class Outcomes(Record):
    """How often something is so, before (unsteered) and after (steered), on the same items."""

    items: int
    before: int
    after: int
    share_before: Interval
    """0–1, with Wilson's interval."""
    share_after: Interval
    change: Interval
    """Share after minus before, −1 to 1, with Agresti and Min's interval for paired shares."""
    p: float
    """Exact McNemar test: how likely flips as one-sided as these are if steering had no effect."""
    flips: tuple[Flip, ...]


class TextEffect(Record):
    """Perplexity of neutral prose; every text counts the same."""

    texts: int
    tokens: int
    unsteered: float | None
    """``None`` where it is no number: nothing was read, or steering broke the model."""
    steered: float | None
    ratio: Interval
    """Steered over unsteered."""


class PromptEffect(Record):
    """How far steering moves the next-token distribution where nothing asks for the trait."""

    prompts: int
    positions: int
    kl: Interval
    """KL(unsteered ‖ steered), nats per position; every prompt counts the same."""


class TurnAnswer(Record):
    """One answer of a conversation, with its measurements."""

    conversation: int
    turn: int
    """From 1."""
    steered: bool
    question: str
    text: str
    measures: dict[str, float | None]
    """``nats`` per token under the unsteered model, ``distinct_2``, style features; ``trait`` if there is a score."""


class DriftTurn(Record):
    """The means over the conversations at one turn; ``None`` where nothing could be measured."""

    turn: int
    unsteered: dict[str, float | None]
    steered: dict[str, float | None]


class DriftSlope(Record):
    """How a measure moves from turn to turn: the least-squares slope of each conversation, averaged over them."""

    measure: str
    unsteered: Interval
    steered: Interval
    difference: Interval
    """Steered minus unsteered: how steering's own effect grows or fades."""
    agree: int
    """Conversations whose difference has the mean's sign."""


class Drift(Record):
    """Conversations in which every answer has its own earlier answers before it."""

    conversations: int
    turns: tuple[DriftTurn, ...]
    slopes: tuple[DriftSlope, ...]
    answers: tuple[TurnAnswer, ...]


EffectName = Literal["texts", "prompts", "harmful", "harmless", "facts", "drift"]


class EffectSentence(Record):
    """What one effect came to, in words."""

    effect: EffectName
    text: str
    warning: bool
    """Worth one: the change is larger than chance and than what is tolerated."""


class SideEffects(Record):
    """What steering does beside what it is meant to do."""

    texts: TextEffect
    prompts: PromptEffect
    harmful: Outcomes
    """Refusals of requests that ought to be refused."""
    harmless: Outcomes
    """Refusals of requests that ought to be answered."""
    facts: Outcomes
    """Right answers."""
    drift: Drift
    sentences: tuple[EffectSentence, ...]
    """One per effect."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences that are worth a warning."""
        return tuple(sentence.text for sentence in self.sentences if sentence.warning)
