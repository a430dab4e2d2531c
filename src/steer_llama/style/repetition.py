"""How much of a text repeats what it said before, up to a loop that never ends."""

import regex

from steer_llama.style.features import prose, word_spans
from steer_llama.style.spans import emoji_spans

_GRAM = 4
"""Tokens of a stretch that count as said before: shorter ones ("one of the") come back in any text."""

_STUCK = regex.compile(r"(\S{1,16}?)\1{7,}")
"""A unit without a blank that follows itself seven times: "hahaha…", "!!!!!!!!", which no word shows."""
_VISIBLE = regex.compile(r"\S")


def repetition(text: str) -> float | None:
    """Share of the text, 0–1, that lies in a stretch that stood there before.

    The tokens are the words (lower-cased) and the emoji; those of every later occurrence of four in a row count, those
    of the first do not. A text said twice has 0.5, a loop of k rounds (k − 1) / k. Where a word or a mark loops
    within itself, the share of the visible characters that do so counts, if that is more. In Chinese and Japanese,
    where each character is a token, names and terms count too. ``None`` where nothing is visible.
    """
    if not _VISIBLE.search(text):
        return None
    return max(_said_before(text), _stuck(text))


def _said_before(text: str) -> float:
    spans = sorted([*word_spans(text), *emoji_spans(text)])
    tokens = [text[start:end].lower() for start, end in spans]
    seen: set[tuple[str, ...]] = set()
    again: set[int] = set()
    for at in range(len(tokens) - _GRAM + 1):
        gram = tuple(tokens[at : at + _GRAM])
        if gram in seen:
            again.update(range(at, at + _GRAM))
        seen.add(gram)
    return len(again) / max(1, len(tokens))


def _stuck(text: str) -> float:
    """Share of the visible characters within such loops; rules and tables, which are markup, are none."""
    plain = prose(text)
    looping = sum(match.end() - match.start() for match in _STUCK.finditer(plain))
    return looping / len(_VISIBLE.findall(text))
