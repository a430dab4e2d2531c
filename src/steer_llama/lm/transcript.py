"""From a whole conversation to tokens, with the place of every message.

The template itself says where the messages stand: it renders markers in their place, and what surrounds the markers
surrounds the messages. So no header is searched for, and any template will do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from steer_llama.errors import ModelError
from steer_llama.lm.tokens import render, with_offsets
from steer_llama.records import Message

_DIGITS = dict(zip("0123456789", "abcdefghij", strict=True))

Span = tuple[int, int]


@dataclass(frozen=True)
class Transcript:
    """A text as the model reads it."""

    text: str
    """With all that the chat template adds."""
    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    """Characters of the text that each token covers; none (``a == b``) for what a tokenizer adds by itself."""
    contents: tuple[Span, ...]
    """Characters of each message."""

    def tokens_of(self, content: Span) -> Span:
        """The tokens from the first to the last that cover a character of ``content``: what `encode_answer` takes.

        Empty (first == stop) where there are none.
        """
        start, end = content
        inside = [index for index, (a, b) in enumerate(self.spans) if a < b and b > start and a < end]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)


def encode_conversation(tokenizer: Any, messages: Sequence[Message]) -> Transcript:
    """The tokens of a conversation in the model's chat template.

    Raises:
        ModelError: no chat template, one that refuses the messages or does not show each of them once and as it is,
            or a tokenizer that does not tell which characters its tokens cover.
    """
    markers = [
        f"QzMessage{''.join(_DIGITS[digit] for digit in str(index))}StandsHereQz" for index in range(len(messages))
    ]
    marked = render(
        tokenizer, [{**message, "content": marker} for message, marker in zip(messages, markers, strict=True)]
    )
    for number, (message, marker) in enumerate(zip(messages, markers, strict=True), start=1):
        if (times := marked.count(marker)) != 1:
            how = "does not show" if not times else f"shows {times} times"
            raise ModelError(
                f"the chat template {how} message {number} (of role {message['role']}), so its tokens cannot be told. "
                "Leave the message out, set another chat template, or give the text with --raw."
            )
    text = render(tokenizer, messages)
    contents = _located(text, marked, markers, messages)
    ids, spans = with_offsets(tokenizer, text)
    return Transcript(text, tuple(ids), tuple(spans), tuple(contents))


def encode_text(tokenizer: Any, text: str) -> Transcript:
    """The tokens of a text without a chat template, with what the tokenizer puts before any text (BOS).

    Raises:
        ModelError: a tokenizer that does not tell which characters its tokens cover.
    """
    ids, spans = with_offsets(tokenizer, text, specials=True)
    return Transcript(text, tuple(ids), tuple(spans), ((0, len(text)),))


def _located(text: str, marked: str, markers: Sequence[str], messages: Sequence[Message]) -> list[Span]:
    """Where each message stands in ``text``, given where its marker stands in ``marked``."""
    order = sorted(range(len(markers)), key=lambda index: marked.index(markers[index]))
    around, rest = [], marked
    for index in order:
        before, _, rest = rest.partition(markers[index])
        around.append(before)
    around.append(rest)
    found: dict[int, Span] = {}
    cursor = 0
    for place, index in enumerate(order):
        before, after, is_last = around[place], around[place + 1], place + 1 == len(order)
        start = cursor + len(before)
        ends = _ends(text, start, messages[index]["content"], after)
        end = next((end for end in ends if not is_last or end + len(after) == len(text)), None)
        if not text.startswith(before, cursor) or end is None:
            raise ModelError(
                f"the chat template does not show message {index + 1} (of role {messages[index]['role']}) as it is, so "
                "its tokens cannot be told. Set a chat template that does, or give the text with --raw."
            )
        found[index] = (start, end)
        cursor = end
    return [found[index] for index in range(len(messages))]


def _ends(text: str, start: int, content: str, after: str) -> Iterator[int]:
    """Where a message that begins at ``start`` may end: whole, then stripped, then a part of it (without thoughts)."""
    for shown in dict.fromkeys((content, content.rstrip(), content.lstrip(), content.strip())):
        end = start + len(shown)
        if text.startswith(shown, start) and text.startswith(after, end):
            yield end
    end = text.find(after, start)
    while end >= 0 and end - start <= len(content):
        if text[start:end] in content:
            yield end
        end = text.find(after, end + 1) if end < len(text) else -1
