"""How likely the unsteered model finds an answer.

Shapes: R rows of a pass, S tokens, D width, V vocabulary, B batch, T tokens.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from steer_llama.lm.capture import run_blocks
from steer_llama.lm.decoder import Decoder, decoder_of
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing import Memory, Pass, pack
from steer_llama.lm.prefix import prefix_cache, shared_prefix
from steer_llama.lm.tokens import AnswerTokens
from steer_llama.lm.vocabulary import to_logits

_TOKENS = 4096
"""Tokens of the conversations of one pass, what they have in common counted again."""
_LOGITS = 256
"""Tokens whose logits are held at once: 128,000 of them are half a megabyte for one."""


def answer_nll(
    model: LanguageModel, answers: Sequence[AnswerTokens], batch_size: int
) -> Iterator[list[tuple[int, float, int]]]:
    """Nats of each answer under the model: yields (index, sum of −ln p over the answer's tokens, their number).

    Only the answers' own positions are projected onto the vocabulary, and what conversations begin with in common is
    computed once.
    """
    decoder = decoder_of(model)
    # Conversations that begin alike go together; where rows are padded, those of like length.
    order = sorted(range(len(answers)), key=lambda index: answers[index].ids)
    if decoder is None:
        order.sort(key=lambda index: len(answers[index].ids), reverse=True)
    for batch in _batches(order, answers, batch_size):
        chosen = [answers[index] for index in batch]
        nll = _padded_nll(model, chosen) if decoder is None else _packed_nll(decoder, chosen)
        yield [(index, nats, _length(answers[index])) for index, nats in zip(batch, nll, strict=True)]


def _batches(order: Sequence[int], answers: Sequence[AnswerTokens], batch_size: int) -> Iterator[list[int]]:
    batch: list[int] = []
    tokens = 0
    for index in order:
        if batch and (len(batch) == batch_size or tokens + len(answers[index].ids) > _TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += len(answers[index].ids)
    if batch:
        yield batch


def _length(answer: AnswerTokens) -> int:
    return len(answer.ids) - answer.response_start


def _packed_nll(decoder: Decoder, answers: Sequence[AnswerTokens]) -> list[float]:
    packed = pack([np.array(answer.ids, dtype=np.int32) for answer in answers])
    part = Pass(packed.runs, (0, len(packed.ids_R)), Memory(), keep_as=None)
    with torch.inference_mode():
        normed_RD = decoder.normed(packed.ids_R, packed.positions_R, part)
        rows: list[int] = []
        expected: list[int] = []
        for answer, path in zip(answers, packed.paths, strict=True):
            row_T = [row for begin, end in path for row in range(begin, end)]
            # A token's probability is told by the token before it.
            rows += row_T[answer.response_start - 1 : len(answer.ids) - 1]
            expected += answer.ids[answer.response_start :]
        nats: list[float] = []
        for begin in range(0, len(rows), _LOGITS):
            place = torch.tensor(rows[begin : begin + _LOGITS], device=normed_RD.device)
            logits_SV = decoder.project(normed_RD[place])
            expected_S = torch.tensor(expected[begin : begin + _LOGITS], device=logits_SV.device)
            nats += torch.nn.functional.cross_entropy(logits_SV, expected_S, reduction="none").tolist()
    ends = np.cumsum([_length(answer) for answer in answers])
    return [sum(nats[end - _length(answer) : end]) for answer, end in zip(answers, ends, strict=True)]


def _padded_nll(model: LanguageModel, answers: Sequence[AnswerTokens]) -> list[float]:
    shared = shared_prefix(model, [answer.ids[: answer.response_start] for answer in answers])
    ids_BT, attention_BT = pad_right([answer.ids for answer in answers], model.pad_id)
    with torch.inference_mode():
        cache = prefix_cache(model, answers[0].ids[:shared], len(answers)) if shared else None
        hidden_BTD = run_blocks(model, ids_BT[:, shared:].to(model.device), attention_BT.to(model.device), cache)
        result = []
        for row, answer in enumerate(answers):
            start, stop = answer.response_start, len(answer.ids)
            place = slice(start - 1 - shared, stop - 1 - shared)
            if stop == start:
                result.append(0.0)
                continue
            logits_SV = to_logits(model, hidden_BTD[row, place])
            expected_S = torch.tensor(answer.ids[start:stop], device=logits_SV.device)
            result.append(float(torch.nn.functional.cross_entropy(logits_SV, expected_S, reduction="sum")))
    return result


def pad_right(sequences: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask (B, T), padded on the right."""
    longest = max(len(sequence) for sequence in sequences)
    ids = [list(sequence) + [pad] * (longest - len(sequence)) for sequence in sequences]
    attention = [[1] * len(sequence) + [0] * (longest - len(sequence)) for sequence in sequences]
    return torch.tensor(ids), torch.tensor(attention)
