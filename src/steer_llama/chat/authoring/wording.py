"""Texts as words and stems, so that they can be compared whatever their case, punctuation and inflection."""

from functools import lru_cache

import regex
import snowballstemmer  # type: ignore[import-untyped]

_WORD = regex.compile(r"\p{Han}|\p{Hiragana}|\p{Katakana}|\p{Thai}|[\p{L}\p{N}]+")
"""Scripts without spaces count letter by letter."""
_APOSTROPHES = regex.compile(r"['’‘ʼ]")
_STEMMER = snowballstemmer.stemmer("english")


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written as running text."""
    return frozenset(text.split())


FUNCTION_WORDS = word_set(
    """
    a about after again all also always am an and any are arent as at be because been before being between both but by
    can cant could couldnt did didnt do does doesnt doing dont down during each even every few for from get gets had
    has have having he her here hers him his how i if im in into is isnt it its itself just let lets like made make
    makes many may me might more most much must my myself never no nor not of off often on one ones only or other our
    out over own same shall she should so some someone something such than that thats the their them then there these
    they this those through to too under until up upon us very was wasnt way we were what whats when where which while
    who whom whose why will with without wont would you your yours yourself
    """
)
"""English words that say nothing about the subject (apostrophes left out)."""


def fold(text: str) -> str:
    """``text`` on one line, without the marks of a list before it."""
    return regex.sub(r"^(?:\d{1,3}[.)]|[-*•])\s+", "", " ".join(text.split()))


def words(text: str) -> list[str]:
    """The words of ``text`` in order, case folded, without punctuation."""
    return _WORD.findall(_APOSTROPHES.sub("", text.casefold()))


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """The word without its inflection."""
    return str(_STEMMER.stemWord(word))


def content_stems(text: str) -> list[str]:
    """The stems of the words that say what ``text`` is about, in order."""
    return [stem(word) for word in words(text) if word not in FUNCTION_WORDS]


def same_word(word: str, other: str) -> bool:
    """Whether ``word`` is ``other`` or a form of it; a stem alone is not enough (``play`` is not ``playful``)."""
    if word == other or (len(other) >= 4 and word.startswith(other)):
        return True
    shared = stem(word)
    return shared == stem(other) and (len(shared) >= 5 or abs(len(word) - len(other)) <= 2)
