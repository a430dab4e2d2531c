"""What the author is told. Each request follows an example in the very form of its answer, which small models need."""

import json
from collections.abc import Sequence
from typing import Any

from steer_llama.chat.authoring.collecting import Refused
from steer_llama.chat.authoring.dialogue import Messages
from steer_llama.chat.authoring.topics import topics
from steer_llama.records import InstructionPair, Message, Trait

EXAMPLE_QUESTIONS = ("Why do owls hunt at night?", "My shoes are wet again.", "How do I mend a torn map?")
EXAMPLE_PAIRS = (
    InstructionPair(
        pos="Answer in verse: every second line has to rhyme.",
        neg="Answer in prose, without a single rhyme.",
    ),
)
_EXAMPLE_STYLE = "Rhyming: the model answers in verse."
_EXAMPLE_RUBRIC = {
    "shows": "Lines end in rhymes and have a beat, as in a poem.",
    "low": "Ordinary sentences in which nothing rhymes.",
    "high": "A poem from the first line to the last.",
}
_ROLE = "You prepare an experiment on the styles of chat assistants. You answer with JSON on one line and nothing else."


def ask_for_questions(
    trait: Trait, number: int, asked: int, kept: Sequence[str], refused: Sequence[Refused]
) -> Messages:
    """The request for ``number`` questions; ``asked`` requests went before, so the subjects are others each time.

    The style stands in the system prompt only: close to the request, small models write about nothing else.
    """
    role = (
        f"You write messages to test the style of a chat assistant. The style is: {_style(trait)} "
        "Choose messages that leave room for it in the answer, but never mention it and never say how to answer. "
        "Reply with JSON on one line."
    )
    task = [_question_task(number, topics(asked, max(2, -(-number // 2))))]
    if kept:
        task.append(f"These are there already; write none of them again: {_listed(kept)}")
    task += _not_usable(refused)
    example = _question_task(len(EXAMPLE_QUESTIONS), ("animals", "clothes", "travel"))
    return _conversation(role, example, {"questions": EXAMPLE_QUESTIONS}, "\n".join(task))


def ask_for_pairs(
    trait: Trait, number: int, asked: int, kept: Sequence[InstructionPair], refused: Sequence[Refused]
) -> Messages:
    """The request for ``number`` instruction pairs."""
    del asked
    task = [_pair_task(_style(trait), number)]
    if kept:
        task.append(f"These are there already; write none of them again: {_listed([pair.pos for pair in kept])}")
    task += _not_usable(refused)
    answer = {"instruction": [{"pos": pair.pos, "neg": pair.neg} for pair in EXAMPLE_PAIRS]}
    return _conversation(_ROLE, _pair_task(_EXAMPLE_STYLE, len(EXAMPLE_PAIRS)), answer, "\n".join(task))


def ask_for_rubric(trait: Trait) -> Messages:
    """The request for what a judge has to look for."""
    return _conversation(_ROLE, _rubric_task(_EXAMPLE_STYLE), _EXAMPLE_RUBRIC, _rubric_task(_style(trait)))


def _question_task(number: int, subjects: Sequence[str]) -> str:
    return (
        f"Write {number} different questions or remarks that people send to a chat assistant, each in one short "
        f"sentence. Subjects: {', '.join(subjects)}."
    )


def _pair_task(style: str, number: int) -> str:
    return (
        f"Write {number} pairs of opposite instructions to a chat assistant. 'pos' makes it answer in the style, 'neg' "
        "makes it answer in the opposite way. Each is one or two sentences, and no two say the same.\n"
        f"Style: {style}"
    )


def _rubric_task(style: str) -> str:
    return (
        "A judge will score from 0 to 100 how strongly an answer shows a style. Write for the judge what to look for "
        "('shows'), what an answer with a low score is like ('low') and one with a high score ('high'), each in one or "
        f"two sentences.\nStyle: {style}"
    )


def _style(trait: Trait) -> str:
    instruction = " ".join(trait.trait_instruction.split())
    return instruction if trait.name.casefold() in instruction.casefold() else f"{trait.name}: {instruction}"


def _not_usable(refused: Sequence[Refused]) -> list[str]:
    if not refused:
        return []
    return ["Not usable last time: " + "; ".join(f"{_quoted(item.text)} ({item.why})" for item in refused) + "."]


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(map(_quoted, texts))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _conversation(role: str, example: str, answer: dict[str, Any], task: str) -> Messages:
    turns: tuple[Message, ...] = (
        {"role": "system", "content": role},
        {"role": "user", "content": example},
        {"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)},
        {"role": "user", "content": task},
    )
    return turns
