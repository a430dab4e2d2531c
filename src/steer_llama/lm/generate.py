"""Batched generation in which every row has its own seed and its own steering.

Shapes: B batch, T tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from steer_llama.config import Sampling
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.prefix import prefix_cache, shared_prefix
from steer_llama.lm.steer import Steering, steering
from steer_llama.lm.tokens import check_context


@dataclass(frozen=True)
class Row:
    """One answer to write."""

    prompt_ids: tuple[int, ...]
    seed: int
    steering: Steering | None = None


@dataclass(frozen=True)
class Generation:
    """One answer as it was written."""

    text: str
    tokens: int
    finish_reason: str
    """``stop``: the model ended it. ``length``: it was cut at the limit."""


def generate(
    model: LanguageModel, rows: Sequence[Row], sampling: Sampling, batch_size: int
) -> Iterator[list[tuple[int, Generation]]]:
    """Write an answer for every row, batch by batch; yields (index of the row, answer) of each finished batch.

    Rows of like length are put together, since every row of a batch is padded to its longest.

    Raises:
        ContextLengthError: a prompt and its answer do not fit the model's context.
    """
    for row in rows:
        check_context(
            len(row.prompt_ids) + sampling.max_tokens, model.context_length, "a prompt with room for its answer"
        )
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].prompt_ids), reverse=True)
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        yield list(zip(batch, _generate_batch(model, [rows[i] for i in batch], sampling), strict=True))


def _generate_batch(model: LanguageModel, rows: Sequence[Row], sampling: Sampling) -> list[Generation]:
    prompts = [row.prompt_ids for row in rows]
    # A steered row's keys and values are its own: they must never serve another row.
    shared = 0 if any(row.steering for row in rows) else shared_prefix(model, prompts)
    ids_BT, attention_BT = pad_left(prompts, model.pad_id, shared)
    stops = _stop_tokens(model)
    prompt_length = ids_BT.shape[1]
    with torch.inference_mode(), steering(model, [row.steering for row in rows]):
        cache = prefix_cache(model, prompts[0][:shared], len(rows)) if shared else None
        out_BT = model.hf.generate(
            input_ids=ids_BT.to(model.device),
            attention_mask=attention_BT.to(model.device),
            past_key_values=cache,
            do_sample=False,  # the noise of `_SeededNoise` makes the greedy choice a sample
            max_new_tokens=sampling.max_tokens,
            pad_token_id=model.pad_id,
            eos_token_id=sorted(stops) or None,
            logits_processor=_processors(sampling, [row.seed for row in rows], prompt_length),
        )
    return [_read(model, answer, stops) for answer in out_BT[:, prompt_length:].tolist()]


def _read(model: LanguageModel, answer: list[int], stops: set[int]) -> Generation:
    end = next((position for position, token in enumerate(answer) if token in stops), None)
    kept = answer if end is None else answer[:end]
    # No tidying: " !" stays " !", or a model's own punctuation could not be measured.
    text = model.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if end is None:
        text = text.rstrip("\N{REPLACEMENT CHARACTER}")  # half an emoji at the cut
    return Generation(text.strip(), len(kept), "length" if end is None else "stop")


def _stop_tokens(model: LanguageModel) -> set[int]:
    stops = model.hf.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    return {int(stop) for stop in [*stops, model.tokenizer.eos_token_id] if stop is not None}


def pad_left(sequences: Sequence[Sequence[int]], pad: int, shared: int = 0) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask (B, T), padded on the left so that every answer begins at the same place.

    The padding comes after the first ``shared`` tokens, which all sequences have in common.
    """
    longest = max(len(sequence) for sequence in sequences)
    ids, attention = [], []
    for sequence in sequences:
        gap, tail = longest - len(sequence), len(sequence) - shared
        ids.append([*sequence[:shared], *[pad] * gap, *sequence[shared:]])
        attention.append([1] * shared + [0] * gap + [1] * tail)
    return torch.tensor(ids), torch.tensor(attention)


def _processors(sampling: Sampling, seeds: Sequence[int], prompt_length: int) -> LogitsProcessorList:
    processors: list[Any] = []
    if sampling.repetition_penalty != 1:
        penalty = RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty, prompt_ignore_length=prompt_length)
        processors.append(penalty)
    if sampling.temperature > 0:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_p < 1:
            processors.append(TopPLogitsWarper(sampling.top_p))
        processors.append(_SeededNoise(seeds))
    return LogitsProcessorList(processors)


class _SeededNoise(LogitsProcessor):
    """Adds Gumbel noise, so that the largest logit is a sample from the softmax (the Gumbel-max trick).

    Every row draws from a generator of its own, so its answer does not depend on which rows share its batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        # numpy's: torch's own generators take three times as long for a vocabulary of 50,000.
        self._generators = [np.random.Generator(np.random.SFC64(seed)) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        uniform_BV = np.empty(scores.shape, dtype=np.float32)
        for row, generator in zip(uniform_BV, self._generators, strict=True):
            generator.random(out=row, dtype=np.float32)
        # Never 0 or 1, whose noise would be infinite.
        noise_BV = torch.from_numpy(uniform_BV).clamp_(1e-20, 1 - 1e-7).log_().neg_().log_()
        noisy: Tensor = scores.float() - noise_BV.to(scores.device)
        return noisy
