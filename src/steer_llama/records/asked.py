"""What is asked: traits and elicitations."""

from typing import Self

from pydantic import AliasChoices, Field, model_validator

from steer_llama.records.base import Record, SplitName


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
