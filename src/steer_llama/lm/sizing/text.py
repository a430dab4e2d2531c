"""How many tokens a set of pairs has, and how many of them must be computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from steer_llama.lm.tokens import divergence_index, encode_answer
from steer_llama.records import Message, Pair

_CHARACTERS_PER_TOKEN = 4.0
"""Of English, about; on our real pairs SmolLM2 has 4.6, so the estimate is on the long side."""
_TEMPLATE_TOKENS = 20
"""That a chat template puts around a prompt, about."""


@dataclass(frozen=True)
class Text:
    """The pairs as the engine reads them: what both conversations of a pair begin with is computed once."""

    pairs: int
    computed: int
    """Tokens that go through the blocks."""
    conversations: int
    """Tokens of all conversations, each alone."""
    response: int
    """Tokens of the answers, from the divergence on: what a mean is taken over."""
    context: int
    """Over the computed tokens, the sum of how many tokens each attends to (itself included)."""
    longest: int
    """Computed tokens of the longest pair."""
    origin: str
    """How the tokens are known."""


def uniform_text(pairs: int, prompt: int, answer: int) -> Text:
    """So many pairs, all with a prompt and two answers of so many tokens."""
    origin = f"every pair is a prompt of {prompt} tokens and two answers of {answer}"
    one = _of_lengths([(prompt, prompt + answer, prompt + answer)], origin)
    return Text(
        pairs=pairs,
        computed=pairs * one.computed,
        conversations=pairs * one.conversations,
        response=pairs * one.response,
        context=pairs * one.context,
        longest=one.longest,
        origin=origin,
    )


def text_of_pairs(pairs: Sequence[Pair], tokenizer: Any | None) -> Text:
    """Counted with the tokenizer, or without one estimated from the characters.

    Raises:
        ModelError: the tokenizer has no chat template, or it refuses a conversation.
    """
    if tokenizer is None:
        told = f"{_CHARACTERS_PER_TOKEN:g} characters a token and {_TEMPLATE_TOKENS} tokens of template, about"
        return _of_lengths([_estimated(pair) for pair in pairs], f"estimated: {told}")
    return _of_lengths([_counted(pair, tokenizer) for pair in pairs], "counted with the model's tokenizer")


def _of_lengths(lengths: Sequence[tuple[int, int, int]], origin: str) -> Text:
    """From each pair's shared prefix and the lengths of its two conversations, in tokens."""
    computed = [chosen + rejected - shared for shared, chosen, rejected in lengths]
    return Text(
        pairs=len(lengths),
        computed=sum(computed),
        conversations=sum(chosen + rejected for _, chosen, rejected in lengths),
        response=sum(chosen + rejected - 2 * shared for shared, chosen, rejected in lengths),
        context=sum(_up_to(chosen) + _up_to(rejected) - _up_to(shared) for shared, chosen, rejected in lengths),
        longest=max(computed),
        origin=origin,
    )


def _up_to(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


def _counted(pair: Pair, tokenizer: Any) -> tuple[int, int, int]:
    chosen = encode_answer(tokenizer, pair.prompt, pair.chosen)
    rejected = encode_answer(tokenizer, pair.rejected_prompt or pair.prompt, pair.rejected)
    return divergence_index(chosen.ids, rejected.ids), len(chosen.ids), len(rejected.ids)


def _estimated(pair: Pair) -> tuple[int, int, int]:
    prompt, other = _prompt_tokens(pair.prompt), _prompt_tokens(pair.rejected_prompt or pair.prompt)
    shared = prompt if pair.rejected_prompt is None else 0
    return shared, prompt + _tokens(pair.chosen), other + _tokens(pair.rejected)


def _prompt_tokens(prompt: Sequence[Message]) -> int:
    return _TEMPLATE_TOKENS + sum(_tokens(message["content"]) for message in prompt)


def _tokens(text: str) -> int:
    return max(1, round(len(text) / _CHARACTERS_PER_TOKEN))
