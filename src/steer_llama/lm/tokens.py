"""From conversations to tokens: where the answer begins, where two answers diverge, which tokens a mark covers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from steer_llama.errors import ContextLengthError, ModelError
from steer_llama.records import Message

Mask = npt.NDArray[np.bool_]

# Letters only: no template or tokenizer treats it in a special way, and no conversation contains it.
_MARKER = "QzAnswerStandsHereQz"


@dataclass(frozen=True)
class AnswerTokens:
    """A conversation that ends with an assistant's answer, as the model reads it."""

    ids: tuple[int, ...]
    """Template, prompt and answer; nothing after the answer."""
    spans: tuple[tuple[int, int], ...]
    """Characters of the rendered text that each token covers."""
    answer: str
    """The answer as the template renders it (some templates strip it)."""
    answer_start: int
    """Its first character in the rendered text."""
    response_start: int
    """Its first token: the first that covers a character of it."""

    def covering(self, spans: Sequence[tuple[int, int]]) -> Mask:
        """Which tokens cover a character of ``spans`` (which count from the answer's beginning).

        A character whose bytes are spread over several tokens has all of them.
        """
        mask = np.zeros(len(self.ids), dtype=bool)
        token = self.response_start
        # Never back: a token behind `token` that reached into this span would have reached into the one before.
        for start, end in sorted((a + self.answer_start, b + self.answer_start) for a, b in spans if a < b):
            while token < len(self.ids) and self.spans[token][0] < end:
                mask[token] |= self.spans[token][1] > start
                token += 1
        return mask


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The tokens of a conversation up to where the assistant's answer begins.

    Raises:
        ModelError: the tokenizer has no chat template, or the template refuses the messages.
    """
    text = render(tokenizer, messages, add_generation_prompt=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def encode_answer(tokenizer: Any, messages: Sequence[Message], answer: str) -> AnswerTokens:
    """The tokens of a conversation with its answer.

    The template itself says where the answer stands: it renders a marker in its place, and what surrounds the marker
    surrounds the answer. So no header is searched for, and any template will do.

    Raises:
        ModelError: no chat template, one that refuses the messages or does not show the answer, or a tokenizer
            that does not tell which characters its tokens cover.
    """
    before, after = _surroundings(tokenizer, messages)
    text = render(tokenizer, [*messages, {"role": "assistant", "content": answer}])
    shown = text[len(before) : len(text) - len(after)]
    if text != before + shown + after or shown.strip() != answer.strip():
        raise ModelError(
            f"the chat template renders the answer {_short(answer)!r} as {_short(shown)!r}, "
            "so its tokens cannot be told. Set a chat template that shows answers as they are."
        )
    # Offsets must be those of the whole text (the tail included), since a tail may merge into the last token.
    ids, spans = with_offsets(tokenizer, text)
    start, end = len(before), len(before) + len(shown)
    inside = [i for i, (a, b) in enumerate(spans) if a < b and b > start and a < end]
    if inside:
        first, stop = inside[0], inside[-1] + 1
    else:  # an empty answer stands between the prompt and the tail
        first = stop = sum(1 for a, _ in spans if a < start)
    return AnswerTokens(tuple(ids[:stop]), tuple(spans[:stop]), shown, start, first)


def divergence_index(chosen: Sequence[int], rejected: Sequence[int]) -> int:
    """The first position at which the two differ; the shorter's length where one begins the other."""
    for index, (a, b) in enumerate(zip(chosen, rejected, strict=False)):
        if a != b:
            return index
    return min(len(chosen), len(rejected))


def check_context(n_tokens: int, context_length: int | None, what: str) -> None:
    """Refuse what the model cannot read.

    Raises:
        ContextLengthError: naming ``what``, its tokens and the model's.
    """
    if context_length is not None and n_tokens > context_length:
        raise ContextLengthError(f"{what}: {n_tokens} tokens, but the model's context is {context_length}. Shorten it.")


def check_chat_template(tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer that cannot render a chat.

    Raises:
        ModelError: it has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{name}: its tokenizer has no chat template, so it cannot be asked as a chat model. "
            "Use the instruct version of the model, or put a chat_template.jinja beside its tokenizer."
        )


def _surroundings(tokenizer: Any, messages: Sequence[Message]) -> tuple[str, str]:
    """What the template puts before and after the answer."""
    text = render(tokenizer, [*messages, {"role": "assistant", "content": _MARKER}])
    before, marker, after = text.rpartition(_MARKER)
    if not marker:
        raise ModelError(
            "the chat template does not show the assistant's answer; set another (tokenizer.chat_template)."
        )
    return before, after


def render(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
    """A conversation as the chat template writes it.

    Raises:
        ModelError: the tokenizer has no chat template, or the template refuses the messages.
    """
    check_chat_template(tokenizer, getattr(tokenizer, "name_or_path", "") or "the model")
    try:
        text: str = tokenizer.apply_chat_template(
            list(messages),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            # Asks a hybrid model (Qwen3 …) for its answer alone; other templates do not know the word.
            enable_thinking=False,
        )
    except (jinja2.TemplateError, ValueError, TypeError) as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ModelError(f"the chat template refuses a conversation of {roles}: {error}") from error
    return text


def with_offsets(tokenizer: Any, text: str, *, specials: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
    """The tokens of a text and the characters that each covers; with ``specials`` also what the tokenizer adds (BOS).

    Raises:
        ModelError: a tokenizer that does not tell which characters its tokens cover.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"the tokenizer {type(tokenizer).__name__} does not tell which characters its tokens cover. "
            "Use the model's fast tokenizer (tokenizer.json)."
        )
    encoded = tokenizer(text, add_special_tokens=specials, return_offsets_mapping=True)
    return encoded["input_ids"], [(int(a), int(b)) for a, b in encoded["offset_mapping"]]


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
