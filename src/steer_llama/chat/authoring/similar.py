"""Questions that are nearly the same: one in the extraction set and one in the test set would be a leak."""

from collections.abc import Iterable

from rapidfuzz import fuzz

from steer_llama.chat.authoring.wording import content_stems, words

_MOST = 0.8
"""Share of the words about the subject that are the same. Among questions that people wrote as different ones, it
reaches 0.5 (the same frame about another subject)."""
_ONE_WORD = 85.0
"""Of 100: two spellings of one long word."""
_LONG = 6
"""Letters; shorter words are other words when a letter is another (``train``, ``rain``)."""


def near_duplicate(question: str, others: Iterable[str]) -> str | None:
    """The first of ``others`` that is ``question`` but for its wording; ``None`` if there is none."""
    return next((other for other in others if is_near(question, other)), None)


def is_near(one: str, other: str) -> bool:
    """Whether two questions say the same, or one says what the other does and some more.

    They differ then in case, punctuation, order, inflection, function words, a spelling, or one word of many.
    """
    if words(one) == words(other):
        return True
    few, many = sorted((set(content_stems(one)), set(content_stems(other))), key=len)
    shared = sum(any(_same(word, candidate) for candidate in many) for word in few)
    # A single shared word is a shared subject ("What is rain?", "Why does rain fall?"), two or more the same question.
    contained = shared == len(few) and len(few) >= 2 and 2 * len(few) >= len(many)
    return contained or (shared > 0 and shared >= _MOST * len(many))


def _same(word: str, other: str) -> bool:
    return word == other or (min(len(word), len(other)) >= _LONG and fuzz.ratio(word, other) >= _ONE_WORD)
