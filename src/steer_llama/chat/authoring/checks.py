"""What a question and an instruction pair must be; what is wrong with one is said, so that the author can mend it."""

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from steer_llama.chat.authoring.outright import asks_outright
from steer_llama.chat.authoring.similar import near_duplicate
from steer_llama.chat.authoring.wording import fold, words
from steer_llama.records import InstructionPair, Trait

_MAX_QUESTION = 400
_MAX_INSTRUCTION = 800
_MIN_CHARACTERS = 8
_MIN_WORDS = 3
_MIN_LETTERS = 0.6
"""Share of letters and spaces in a question."""
_MIN_DISTINCT = 0.5
"""Share of different words in a question."""
_SENTENCE_END = regex.compile(r"[.?!…]+\s*")
_MARKUP = regex.compile(r"[{}<>]|\"questions\"")
_BREAKS_OFF = regex.compile(r"[,;:][.?!…]+$|[,;:(\[\-–—/]$|\b(?:the|a|an|and|or|of|to|with|for|if)$", regex.IGNORECASE)


@dataclass(frozen=True)
class Flaw:
    """Why something that the author wrote cannot be used."""

    kind: str
    """For counting: ``repeated``, ``asks outright`` …"""
    why: str
    """For the author."""


def question_flaw(question: str, kept: Sequence[str], trait: Trait, shown: Sequence[str]) -> Flaw | None:
    """What is wrong with a folded ``question``; ``shown`` are the prompt's own examples, which are no answer."""
    if flaw := _shape_flaw(question, _MAX_QUESTION) or _text_flaw(question) or _repeated(question, kept):
        return flaw
    if near_duplicate(question, shown):
        return Flaw("copied example", "it is the example")
    asked = asks_outright(question, trait)
    return Flaw("asks outright", asked) if asked else None


def pair_flaw(pair: InstructionPair, kept: Sequence[InstructionPair], shown: Sequence[InstructionPair]) -> Flaw | None:
    """What is wrong with a folded instruction pair."""
    for side, text in (("pos", pair.pos), ("neg", pair.neg)):
        if flaw := _shape_flaw(text, _MAX_INSTRUCTION):
            return Flaw(flaw.kind, f"{side}: {flaw.why}")
        if any(_folded(text) == _folded(getattr(other, side)) for other in kept):
            return Flaw("repeated", f"{side} is there already")
        if any(_folded(text) in (_folded(other.pos), _folded(other.neg)) for other in shown):
            return Flaw("copied example", f"{side} is the example's")
    if _folded(pair.pos) == _folded(pair.neg):
        return Flaw("not opposite", "pos and neg are the same")
    return None


def folded_pair(pair: InstructionPair) -> InstructionPair:
    """The pair with each side on one line."""
    return InstructionPair(pos=fold(pair.pos), neg=fold(pair.neg))


def _shape_flaw(text: str, longest: int) -> Flaw | None:
    if not text:
        return Flaw("empty", "it is empty")
    if len(text) < _MIN_CHARACTERS or len(words(text)) < _MIN_WORDS:
        return Flaw("too short", f"it is too short (at least {_MIN_WORDS} words)")
    if len(text) > longest:
        return Flaw("too long", f"it is too long ({len(text)} characters, at most {longest})")
    return None


def _text_flaw(question: str) -> Flaw | None:
    letters = sum(character.isalpha() or character == " " for character in question)
    if letters < _MIN_LETTERS * len(question) or _MARKUP.search(question):
        return Flaw("not plain text", "it is not plain text")
    if _BREAKS_OFF.search(question):
        return Flaw("broken off", "it breaks off in the middle")
    sentences = [_folded(part) for part in _SENTENCE_END.split(question) if part]
    said = words(question)
    circles = len(set(sentences)) < len(sentences) or len(set(said)) < _MIN_DISTINCT * len(said)
    return Flaw("goes in circles", "it says the same thing twice") if circles else None


def _repeated(question: str, kept: Sequence[str]) -> Flaw | None:
    if _folded(question) in map(_folded, kept):
        return Flaw("repeated", "it is there already")
    same = near_duplicate(question, kept)
    return Flaw("nearly repeated", f"it is nearly the same as {same!r}") if same else None


def _folded(text: str) -> str:
    return " ".join(words(text))
