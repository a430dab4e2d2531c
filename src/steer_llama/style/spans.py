"""Where in a text its marks stand: spans ``[start, end)`` in str indices, sorted and disjoint.

They choose the tokens that are averaged (``positions``). ``response`` and ``divergence`` are about tokens, not
characters, and live where tokens are known.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import emoji
import regex

from steer_llama.style.markup import read_markup
from steer_llama.style.source import Span

_CLUSTER = regex.compile(r"\X")
_MAY_BE_EMOJI = regex.compile(r"\p{Emoji_Presentation}|[\uFE0F\u20E3]")
_TEXT_STYLE = "\ufe0e"
_LETTERS_OR_SPACE = regex.compile(r"(?:\p{L}[\p{M}\p{Join_Control}]*|\s)+")


def emoji_spans(text: str) -> list[Span]:
    """Whole emoji, one span each: families, skin tones, flags and keycaps with all their parts.

    A character counts when it is *shown* as an emoji: by default (😀) or because U+FE0F asks for it (❤️, ©️, 1️⃣).
    Characters whose default is text (a bare ☺, ❤, ✔, ©, ™, or a digit) and those that U+FE0E makes text do not count:
    that is Unicode's own rule, and it keeps typography out of the measure.
    """
    if not _MAY_BE_EMOJI.search(text):
        return []
    return [cluster.span() for cluster in _CLUSTER.finditer(text) if _is_emoji(cluster.group())]


def _is_emoji(cluster: str) -> bool:
    return (
        _MAY_BE_EMOJI.search(cluster) is not None
        and _TEXT_STYLE not in cluster
        and emoji.emoji_count(cluster) > 0  # not half a flag, nor a letter with a stray U+FE0F
    )


def markdown_spans(text: str) -> list[Span]:
    """Characters that are markdown markup, as the parser sees it (`steer_llama.style.markup`).

    Heading marks and underlines, list markers, emphasis and strikethrough marks, backticks and whole fence lines,
    link brackets with the address, quote marks, table pipes and rules. Indentation and backslashes are not.
    """
    return list(read_markup(text).spans)


def non_alphabetic_spans(text: str) -> list[Span]:
    """Characters that are neither letters (with their marks and joiners) nor whitespace: digits, punctuation, emoji."""
    result: list[Span] = []
    end = 0
    for match in _LETTERS_OR_SPACE.finditer(text):
        if match.start() > end:
            result.append((end, match.start()))
        end = match.end()
    if end < len(text):
        result.append((end, len(text)))
    return result


SPANS: Mapping[str, Callable[[str], list[Span]]] = MappingProxyType(
    {"emoji": emoji_spans, "markdown": markdown_spans, "non_alphabetic": non_alphabetic_spans}
)
"""Every kind of mark by its name in ``positions``."""
