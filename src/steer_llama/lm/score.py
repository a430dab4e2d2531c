"""How likely the unsteered model finds an answer.

Shapes: B batch, T tokens, D width, V vocabulary, S answer tokens.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from steer_llama.lm.capture import run_blocks
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.prefix import prefix_cache, shared_prefix
from steer_llama.lm.tokens import AnswerTokens


def answer_nll(
    model: LanguageModel, answers: Sequence[AnswerTokens], batch_size: int
) -> Iterator[list[tuple[int, float, int]]]:
    """Nats of each answer under the model: yields (index, sum of −ln p over the answer's tokens, their number).

    Only the answers' own positions are projected onto the vocabulary.
    """
    order = sorted(range(len(answers)), key=lambda index: len(answers[index].ids), reverse=True)
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        nll = _batch_nll(model, [answers[index] for index in batch])
        yield [(index, nats, _length(answers[index])) for index, nats in zip(batch, nll, strict=True)]


def _length(answer: AnswerTokens) -> int:
    return len(answer.ids) - answer.response_start


def _batch_nll(model: LanguageModel, answers: Sequence[AnswerTokens]) -> list[float]:
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


def to_logits(model: LanguageModel, hidden_SD: Tensor) -> Tensor:
    """Logits (S, V), in float32 or better, of what the final norm gave, with what some architectures do after it."""
    return scaled_logits(model, model.hf.get_output_embeddings()(hidden_SD))


def scaled_logits(model: LanguageModel, projected_SV: Tensor) -> Tensor:
    """What some architectures do after the projection onto the vocabulary (S, V); float32 or better."""
    logits = projected_SV.to(torch.promote_types(projected_SV.dtype, torch.float32))
    config = model.text_config
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / divisor
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
        logits = torch.tanh(logits / cap) * cap
    return logits


def pad_right(sequences: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask (B, T), padded on the right."""
    longest = max(len(sequence) for sequence in sequences)
    ids = [list(sequence) + [pad] * (longest - len(sequence)) for sequence in sequences]
    attention = [[1] * len(sequence) + [0] * (longest - len(sequence)) for sequence in sequences]
    return torch.tensor(ids), torch.tensor(attention)
