"""The pairs as the training reads them, and which of them it must not learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steer_llama.errors import FileError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.tokens import AnswerTokens, check_context, divergence_index, encode_answer
from steer_llama.progress import Reporter
from steer_llama.records import Pair

MIN_PAIRS = 5
"""Three to learn from and two to see whether that helped: with fewer, a mean difference is the better choice."""
_MIN_DEV, _MAX_DEV = 2, 50
"""Each look steers every dev pair at every strength both ways; more than fifty would cost more than the steps."""


@dataclass(frozen=True)
class Text:
    """A conversation, and the tokens whose likelihood counts."""

    ids: tuple[int, ...]
    begin: int
    """The first token that counts: where the two answers diverge. All from there to the end do."""


@dataclass(frozen=True)
class Example:
    """A pair as tokens."""

    chosen: Text
    rejected: Text


@dataclass(frozen=True)
class Split:
    """Numbers of the pairs to learn from, and of those that decide when to stop."""

    train: tuple[int, ...]
    dev: tuple[int, ...]

    @property
    def measured(self) -> dict[str, tuple[int, ...]]:
        """What the start and the result are measured on: the dev pairs, and as many of the others at most."""
        return {"train": self.train[:_MAX_DEV], "dev": self.dev}


def usable_pairs(model: LanguageModel, pairs: Sequence[Pair], reporter: Reporter) -> tuple[list[Pair], list[Example]]:
    """The pairs whose answers both have tokens after the divergence, and those tokens.

    Raises:
        ContextLengthError: a pair does not fit the model's context.
        FileError: fewer than five pairs remain.
    """
    kept: list[Pair] = []
    examples: list[Example] = []
    left_out: list[str] = []
    for pair in pairs:
        chosen = encode_answer(model.tokenizer, pair.prompt, pair.chosen)
        rejected = encode_answer(model.tokenizer, pair.rejected_prompt or pair.prompt, pair.rejected)
        check_context(max(len(chosen.ids), len(rejected.ids)), model.context_length, f"the pair {pair.name!r}")
        divergence = divergence_index(chosen.ids, rejected.ids)
        example = Example(_text(chosen, divergence), _text(rejected, divergence))
        if all(text.begin < len(text.ids) for text in (example.chosen, example.rejected)):
            kept.append(pair)
            examples.append(example)
        else:
            left_out.append(pair.name)
    if left_out:
        named = ", ".join(map(repr, left_out))
        reporter.note(f"{len(left_out)} pairs kept out, no answer tokens after the divergence: {named}")
    if len(kept) < MIN_PAIRS:
        raise FileError(
            f"{len(kept)} usable pairs of {len(pairs)}: training needs {MIN_PAIRS}, so that some can decide when it "
            "stops. Give more pairs, or use the mean difference."
        )
    return kept, examples


def split_pairs(pairs: Sequence[Pair], dev_share: float, seed: int) -> Split:
    """Divide the pairs by prompt: two answers to one question are both learned from, or neither is.

    Raises:
        FileError: too few different prompts to divide.
    """
    prompts: dict[Any, list[int]] = {}
    for number, pair in enumerate(pairs):
        key = tuple((message["role"], message["content"]) for message in pair.prompt)
        prompts.setdefault(key, []).append(number)
    wanted = min(max(_MIN_DEV, round(dev_share * len(pairs))), _MAX_DEV)
    groups = list(prompts.values())
    dev: list[int] = []
    for group in np.random.default_rng(seed).permutation(len(groups)):
        if len(dev) >= wanted:
            break
        dev += groups[group]
    train = [number for number in range(len(pairs)) if number not in set(dev)]
    if not train:
        raise FileError(
            f"{len(pairs)} pairs have {len(groups)} different prompts: none is left to learn from when some "
            "decide when to stop. Give pairs with more different prompts, or use the mean difference."
        )
    return Split(tuple(train), tuple(sorted(dev)))


def _text(answer: AnswerTokens, divergence: int) -> Text:
    # At least 1: the first token of all has nothing that it could be predicted from.
    return Text(answer.ids, max(divergence, answer.response_start, 1))
