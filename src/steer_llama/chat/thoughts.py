"""A reasoning model's thoughts and its answer, told apart."""

import re
from collections.abc import Sequence

from steer_llama.records import TokenStep

_OPEN, _CLOSE = "<think>", "</think>"
_CLOSED_WITHOUT_OPENING = re.compile(r"(?:\A|\n)[ \t]*</think>[ \t]*(?:\n|\Z)")
"""Some chat templates open the thoughts in the prompt, so that only the end of them is written. It has to have a line
of its own: an answer may well speak *about* the tag."""


def split_thoughts(text: str) -> tuple[str, str]:
    """Thoughts and answer of a text that may begin with ``<think>``; thoughts that were cut leave no answer."""
    begun = text.lstrip()
    if begun.startswith(_OPEN):
        thoughts, closed, answer = begun.removeprefix(_OPEN).partition(_CLOSE)
        return thoughts.strip(), answer.lstrip() if closed else ""
    if _OPEN not in text and (end := _CLOSED_WITHOUT_OPENING.search(text)):
        return text[: end.start()].strip(), text[end.end() :].lstrip()
    return "", text


def steps_of_answer(steps: Sequence[TokenStep], answer: str, *, thought: bool) -> tuple[TokenStep, ...]:
    """The places of the answer alone: servers give log probabilities for the thoughts' tokens too.

    Empty where the answer's beginning cannot be found among the tokens.
    """
    if not thought:
        return tuple(steps)
    written = "".join(step.token for step in steps)
    close = written.rfind(_CLOSE)
    start = close + len(_CLOSE) if close >= 0 else written.rfind(answer.strip()) if answer.strip() else -1
    if start < 0:
        return ()
    position = 0
    for index, step in enumerate(steps):
        if position >= start and step.token.strip():
            return tuple(steps[index:])
        position += len(step.token)
    return ()
