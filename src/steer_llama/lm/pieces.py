"""Cutting a text where both its tokens and its characters end: what can be shown apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import regex

from steer_llama.lm.transcript import Span

_CLUSTER = regex.compile(r"\X")


@dataclass(frozen=True)
class Cut:
    """A part of a text that stands for one token, or for several that share its characters."""

    start: int
    end: int
    tokens: tuple[int, ...]
    """All that cover a character of it; none for white space that the tokenizer leaves out at the end."""


def cut(text: str, spans: Sequence[Span], at: Iterable[int] = ()) -> list[Cut]:
    """Cut ``text`` behind its tokens, but never within what is shown as one character (a grapheme, UAX 29).

    An emoji whose bytes are spread over tokens, a family joined with U+200D, a letter with its accent and CRLF each
    stay whole. White space that belongs to no token goes with the token behind it. The parts, one after the other, are
    the text.

    Args:
        text: what the tokens were made of.
        spans: the characters that each token covers, ascending.
        at: further places to cut at whatever stands there, such as the ends of messages.
    """
    characters = {match.end() for match in _CLUSTER.finditer(text)}
    inside = {place for start, end in spans for place in range(start + 1, end)}
    places = ({end for start, end in spans if start < end} & characters) - inside | {*at, len(text)}
    cuts: list[Cut] = []
    begin, first = 0, 0
    for place in sorted(places - {0}):
        while first < len(spans) and spans[first][1] <= begin:
            first += 1
        covering = []
        for index in range(first, len(spans)):
            start, end = spans[index]
            if start >= place:
                break
            if start < end and end > begin:
                covering.append(index)
        cuts.append(Cut(begin, place, tuple(covering)))
        begin = place
    return cuts
