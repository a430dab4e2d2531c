"""What the JSON files hold. Plain data: no torch, no network."""

import math
from typing import Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict  # pydantic refuses typing's own before Python 3.12

SplitName = Literal["extract", "dev", "test"]


class Message(TypedDict):
    """One turn of a chat, as every chat API takes it."""

    role: str
    content: str


class Record(BaseModel):
    """Base of the records: immutable; unknown keys are kept out of memory, never an error (other tools add theirs)."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Turn(Record):
    """One example exchange."""

    user: str
    assistant: str


class Demonstration(Record):
    """What makes a model show the trait when no model that has it is at hand: a system prompt and example turns."""

    system_prompt: str = ""
    examples: tuple[Turn, ...] = ()


class Trait(Record):
    """A style to transfer, in the seed's format, plus optional fields of ours."""

    name: str
    trait_instruction: str
    metric: str | None = None
    """The measured style feature that stands for the trait, if one does."""
    demonstration: Demonstration | None = None


class InstructionPair(Record):
    """Two opposite instructions: ``pos`` brings the trait out, ``neg`` keeps it away."""

    pos: str
    neg: str


class Split(Record):
    """Which question serves what; decided once and kept, so that nothing leaks from extraction into the proof."""

    extract: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        seen: set[str] = set()
        for question in (*self.extract, *self.dev, *self.test):
            if question in seen:
                raise ValueError(f"the question {question!r} stands in the split twice")
            seen.add(question)
        return self

    def of(self, question: str) -> SplitName:
        """The part that ``question`` belongs to.

        Raises:
            KeyError: it is in none.
        """
        if question in self.extract:
            return "extract"
        if question in self.dev:
            return "dev"
        if question in self.test:
            return "test"
        raise KeyError(question)


class Elicitation(Record):
    """What is asked: contrastive instructions, questions and the evaluation prompt (the seed's file and ours)."""

    trait: str = ""
    instruction: tuple[InstructionPair, ...] = ()
    questions: tuple[str, ...] = Field(min_length=1)
    eval_prompt: str = Field(default="", validation_alias=AliasChoices("eval_prompt", "eval prompt"))
    split: Split | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if blank := [number for number, question in enumerate(self.questions, 1) if not question.strip()]:
            raise ValueError(f"question {blank[0]} is empty")
        if len(set(self.questions)) != len(self.questions):
            twice = next(q for q in self.questions if self.questions.count(q) > 1)
            raise ValueError(f"the question {twice!r} stands twice")
        if self.split is not None:
            covered = {*self.split.extract, *self.split.dev, *self.split.test}
            if covered != set(self.questions):
                odd = sorted(covered ^ set(self.questions))[0]
                raise ValueError(f"the split and the questions differ, first at {odd!r}")
        return self


class ChatRequest(Record):
    """One question to one arm, ready to send."""

    key: str
    """Identifies the answer: same key, same request."""
    messages: tuple[Message, ...]
    temperature: float
    top_p: float
    repetition_penalty: float
    max_tokens: int
    seed: int


class ChatReply(Record):
    """What came back for a `ChatRequest`."""

    key: str
    text: str
    finish_reason: str
    """``stop``, ``length``, or the endpoint's own word."""
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Response(Record):
    """An arm's answer to a question: a line of ``responses.jsonl``."""

    key: str
    arm: str
    role: Literal["source", "target"]
    split: SplitName
    question: str
    text: str
    finish_reason: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Result(Record):
    """Both arms' answers to one question with their scores: an entry of ``results.json``.

    A score is 0–100 or ``None`` (unscored: the reason says why), never 0 for "could not tell".
    """

    question: str
    source_response: str
    target_response: str
    source_score: float | None = None
    target_score: float | None = None
    score_difference: float | None = None
    """Source minus target, in points."""
    split: SplitName | None = None
    kept: bool | None = None
    reason: str | None = None


class Pair(Record):
    """Two answers to the same prompt: ``chosen`` has the style that we want, ``rejected`` has not."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    name: str
    """What to call the pair in messages: its question, or where it stands in its file."""
    rejected_prompt: tuple[Message, ...] | None = None
    """Only where the two answers were given to different prompts."""


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
    features: dict[str, float] = {}
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
    sampling: dict[str, float] = {}
    """How the answers were drawn: ``temperature``, ``top_p``, ``repetition_penalty``. It holds under this sampling."""
    arms: tuple[TestArm, ...]
    over_random: Interval | None
    """Trait score of the steered minus the mean over the random directions on the same questions (paired)."""
    decision: Literal["use", "prompt", "no"]
    sentence: str


def as_json(record: Record) -> dict[str, Any]:
    """A record as plain JSON values."""
    return record.model_dump(mode="json")
