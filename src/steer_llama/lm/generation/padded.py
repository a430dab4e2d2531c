"""Padded batches through transformers' own ``generate``, for models whose attention cannot be packed.

Shapes: B batch, T tokens.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from steer_llama.config import Sampling
from steer_llama.lm.generation.rows import Generation, Row, read_answer, stop_tokens
from steer_llama.lm.generation.sampling import Sampler, generator_of
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.prefix import prefix_cache, shared_prefix
from steer_llama.lm.steering import steering


def write_padded(
    model: LanguageModel, rows: Sequence[Row], sampling: Sampling, batch_size: int
) -> Iterator[list[tuple[int, Generation]]]:
    """Write an answer for every row, batch by batch; yields (index of the row, answer) of each finished batch.

    Rows of like length are put together, since every row of a batch is padded to its longest.
    """
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].prompt_ids), reverse=True)
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        yield list(zip(batch, _generate_batch(model, [rows[i] for i in batch], sampling), strict=True))


def _generate_batch(model: LanguageModel, rows: Sequence[Row], sampling: Sampling) -> list[Generation]:
    prompts = [row.prompt_ids for row in rows]
    # A steered row's keys and values are its own: they must never serve another row.
    shared = shared_prefix(model, prompts) if all(row.prompt_is_plain for row in rows) else 0
    ids_BT, attention_BT = pad_left(prompts, model.pad_id, shared)
    stops = stop_tokens(model)
    prompt_length = ids_BT.shape[1]
    with torch.inference_mode():
        cache = prefix_cache(model, prompts[0][:shared], len(rows)) if shared else None
    with torch.inference_mode(), steering(model, [row.steering for row in rows], [prompt_length - shared] * len(rows)):
        out_BT = model.hf.generate(
            input_ids=ids_BT.to(model.device),
            attention_mask=attention_BT.to(model.device),
            past_key_values=cache,
            do_sample=False,  # `_Choice` draws
            max_new_tokens=sampling.max_tokens,
            pad_token_id=model.pad_id,
            eos_token_id=sorted(stops) or None,
            logits_processor=LogitsProcessorList([_Choice(sampling, [row.seed for row in rows], prompt_length)]),
        )
    return [read_answer(model, answer, stops) for answer in out_BT[:, prompt_length:].tolist()]


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


class _Choice(LogitsProcessor):
    """Leaves the token that our `Sampler` chooses as the only one, so that both ways choose alike."""

    def __init__(self, sampling: Sampling, seeds: Sequence[int], prompt_length: int) -> None:
        self._sampler = Sampler(sampling)
        self._generators = [generator_of(seed) for seed in seeds]
        self._prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        written = input_ids[:, self._prompt_length :].tolist()
        chosen = self._sampler.choose(scores.float().clone(), written, self._generators)
        only = torch.full_like(scores, -torch.inf)
        only[torch.arange(len(chosen)), torch.tensor(chosen)] = 0.0
        return only
