"""The whole elicitation from an author: instruction pairs, what the judge looks for, and the questions."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter

from steer_llama.chat.authoring.checks import folded_pair, pair_flaw, question_flaw
from steer_llama.chat.authoring.collecting import Wanted, collect
from steer_llama.chat.authoring.dialogue import Ask, Dialogue, counted
from steer_llama.chat.authoring.framing import evaluation_prompt
from steer_llama.chat.authoring.prompts import (
    EXAMPLE_PAIRS,
    EXAMPLE_QUESTIONS,
    ask_for_pairs,
    ask_for_questions,
    ask_for_rubric,
)
from steer_llama.chat.authoring.schemas import pairs_schema, questions_schema, rubric_schema
from steer_llama.chat.authoring.wording import fold
from steer_llama.config import AuthorSettings
from steer_llama.records import Elicitation, InstructionPair, Record, Trait


@dataclass(frozen=True)
class Written:
    """What the author wrote, and at what effort."""

    elicitation: Elicitation
    """Without a split."""
    calls: int
    refused: Counter[str]
    """What could not be used, by kind."""

    @property
    def effort(self) -> str:
        """The calls and the refusals, in words."""
        return f"written in {self.calls} calls, not usable: {counted(self.refused) or 'nothing'}"


class _Rubric(Record):
    shows: str
    low: str
    high: str


def write_elicitation(trait: Trait, author: AuthorSettings, ask: Ask, advance: Callable[[int], None]) -> Written:
    """Have the author write all that is asked for ``trait``; ``advance`` hears of each good question.

    The same replies give the same elicitation, so a journal of them is enough to go on after a stop.

    Raises:
        EndpointError: ``author.max_calls`` were not enough; the text says what was missing and why.
    """
    dialogue = Dialogue(ask, author.max_calls)
    pairs = collect(dialogue, _pairs(trait, author), lambda _: None)
    rubric = dialogue.record(ask_for_rubric(trait), rubric_schema(), TypeAdapter(_Rubric), _blank_part)
    questions = collect(dialogue, _questions(trait, author), advance)
    elicitation = Elicitation(
        trait=trait.name,
        instruction=tuple(pairs),
        questions=tuple(questions),
        eval_prompt=evaluation_prompt(trait, rubric.shows, rubric.low, rubric.high),
    )
    return Written(elicitation, dialogue.calls, dialogue.refused)


def _pairs(trait: Trait, author: AuthorSettings) -> Wanted[InstructionPair]:
    return Wanted(
        key="instruction",
        count=author.instructions,
        per_call=author.questions_per_call,
        adapter=TypeAdapter(InstructionPair),
        schema=pairs_schema,
        request=lambda number, asked, kept, refused: ask_for_pairs(trait, number, asked, kept, refused),
        flaw=lambda pair, kept: pair_flaw(pair, kept, EXAMPLE_PAIRS),
        clean=folded_pair,
    )


def _questions(trait: Trait, author: AuthorSettings) -> Wanted[str]:
    return Wanted(
        key="questions",
        count=author.questions,
        per_call=author.questions_per_call,
        adapter=TypeAdapter(str),
        schema=questions_schema,
        request=lambda number, asked, kept, refused: ask_for_questions(trait, number, asked, kept, refused),
        flaw=lambda question, kept: question_flaw(question, kept, trait, EXAMPLE_QUESTIONS),
        clean=fold,
    )


def _blank_part(rubric: _Rubric) -> str | None:
    blank = [part for part in ("shows", "low", "high") if not getattr(rubric, part).strip()]
    return f"{blank[0]!r} is empty" if blank else None
