"""The style profile of one text: countable features, no model needed."""

from collections.abc import Mapping
from types import MappingProxyType

import regex

from steer_llama.style.markup import read_markup
from steer_llama.style.source import Span, merged
from steer_llama.style.spans import emoji_spans

FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "words": "words",
        "sentence_words": "words per sentence",
        "punctuation": "punctuation characters per 100 words (markup and emoji left out)",
        "uppercase": "upper-case letters over all letters, 0–1",
        "emoji": "emoji per 100 words",
        "headings": "headings per 100 words",
        "bullets": "list items, numbered or not, per 100 words",
        "bold": "bold stretches per 100 words",
        "italics": "italic stretches per 100 words",
        "code": "code stretches and blocks per 100 words",
        "links": "links and images per 100 words",
        "exclamations": "exclamation marks per 100 words",
        "questions": "question marks per 100 words",
    }
)
"""What `measure` measures, with its unit."""

MARKUP_FEATURES = ("headings", "bullets", "bold", "italics", "code", "links")

# Letters and digits with inner apostrophes, hyphens and decimal points; Chinese and Japanese are written without
# spaces, so there each character counts (as in Unicode's default word boundaries).
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}]"
    r"|[\p{L}\p{N}--\p{Han}--\p{Hiragana}]"
    r"(?:[\p{L}\p{M}\p{N}--\p{Han}--\p{Hiragana}]|['’.\-‐](?=[\p{L}\p{N}]))*",
    regex.VERSION1,
)
# An answer's line breaks end a sentence: list items and headings have no full stop.
_SENTENCE_END = regex.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]|[\r\n]+")
_LETTER = regex.compile(r"\p{L}")
_UPPER = regex.compile(r"\p{Lu}")
_PUNCTUATION = regex.compile(r"\p{P}")
_EXCLAMATION = regex.compile("[!！]")
_QUESTION = regex.compile("[?？]")


def prose(text: str) -> str:
    """``text`` as long as it was, with blanks for markup (list numbers and addresses too) and emoji."""
    kept = list(text)
    for start, end in merged([*read_markup(text).spans, *emoji_spans(text)]):
        kept[start:end] = " " * (end - start)
    return "".join(kept)


def word_spans(text: str) -> list[Span]:
    """Where the words stand, in any script; markup and emoji are none."""
    return [match.span() for match in _WORD.finditer(prose(text))]


def count_words(text: str) -> int:
    """How many words ``text`` has."""
    return len(word_spans(text))


def count_exclamations(text: str) -> int:
    """Exclamation marks, each of a row."""
    return len(_EXCLAMATION.findall(prose(text)))


def per_100_words(count: int, text: str) -> float:
    """``count`` per 100 words of ``text``; a text without words counts as one word."""
    return 100.0 * count / max(1, count_words(text))


def measure(text: str) -> dict[str, float]:
    """The style profile of ``text``: each of `FEATURES`; an empty text has all zeros."""
    plain = prose(text)
    total = len(_WORD.findall(plain))
    hundreds = max(1, total) / 100
    letters = len(_LETTER.findall(plain))
    counts = read_markup(text).counts
    return {
        "words": float(total),
        "sentence_words": total / max(1, _count_sentences(plain)),
        "punctuation": len(_PUNCTUATION.findall(plain)) / hundreds,
        "uppercase": len(_UPPER.findall(plain)) / max(1, letters),
        "emoji": len(emoji_spans(text)) / hundreds,
        **{name: counts[name] / hundreds for name in MARKUP_FEATURES},
        "exclamations": len(_EXCLAMATION.findall(plain)) / hundreds,
        "questions": len(_QUESTION.findall(plain)) / hundreds,
    }


def _count_sentences(plain: str) -> int:
    return sum(1 for part in _SENTENCE_END.split(plain) if _WORD.search(part))
