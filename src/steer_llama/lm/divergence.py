"""How far steering moves the model's predictions along given tokens.

Shapes: B batch, T tokens, D width, V vocabulary, P positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer_llama.lm.capture import run_blocks
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.score import pad_right
from steer_llama.lm.steering import Steering, steering
from steer_llama.lm.tokens import check_context
from steer_llama.lm.vocabulary import to_logits

POSITIONS_AT_ONCE = 32
"""Positions whose logits are held together: with a vocabulary of 128,000, 33 MB for each of a few float64 tensors."""


@dataclass(frozen=True)
class Passage:
    """Tokens to read."""

    ids: tuple[int, ...]
    start: int
    """The first position whose prediction counts; all after it count too, the last one included."""


@dataclass(frozen=True)
class Divergence:
    """What one passage came to, summed over its positions from ``start`` on."""

    positions: int
    kl: float
    """Sum of KL(unsteered ‖ steered) of the next-token distributions, in nats."""
    tokens: int
    """Tokens that were predicted: one less, since nothing follows the last position."""
    nats_unsteered: float
    """Sum of −ln p of those tokens."""
    nats_steered: float


def divergences(
    model: LanguageModel, passages: Sequence[Passage], steered: tuple[Steering, ...], batch_size: int
) -> Iterator[list[tuple[int, Divergence]]]:
    """Read every passage without and with steering, in one batch; yields (index, what it came to) batch by batch.

    The distributions are compared over the whole vocabulary, in float64 where the device has it.

    Args:
        model: the weights.
        passages: what to read.
        steered: what steers; nothing gives a divergence of zero.
        batch_size: rows; half of them are steered.

    Raises:
        ValueError: a passage's ``start`` is not one of its positions.
        ContextLengthError: a passage is longer than the model's context.
        LayerError, VectorError, SteeringInactiveError: as `lm.steering.steering`.
    """
    for passage in passages:
        if not 0 <= passage.start < len(passage.ids):
            raise ValueError(f"a passage of {len(passage.ids)} tokens cannot start at {passage.start}")
        check_context(len(passage.ids), model.context_length, "a text to compare predictions on")
    order = sorted(range(len(passages)), key=lambda index: len(passages[index].ids), reverse=True)
    at_once = max(1, batch_size // 2)
    for begin in range(0, len(order), at_once):
        batch = order[begin : begin + at_once]
        yield list(zip(batch, _read(model, [passages[index] for index in batch], steered), strict=True))


def _read(model: LanguageModel, passages: Sequence[Passage], steered: tuple[Steering, ...]) -> list[Divergence]:
    sequences = [passage.ids for passage in passages]
    ids_BT, attention_BT = pad_right([*sequences, *sequences], model.pad_id)
    rows = [*[()] * len(passages), *[steered] * len(passages)]
    # Where only answers are steered, what follows the first position counts as one.
    answers = [passage.start + 1 for passage in passages] * 2
    with torch.inference_mode():
        with steering(model, rows, answers):
            hidden_BTD = run_blocks(model, ids_BT.to(model.device), attention_BT.to(model.device))
        return [
            _compare(model, passage, hidden_BTD[row], hidden_BTD[row + len(passages)])
            for row, passage in enumerate(passages)
        ]


def _compare(model: LanguageModel, passage: Passage, plain_TD: Tensor, steered_TD: Tensor) -> Divergence:
    kl = nats_plain = nats_steered = 0.0
    end = len(passage.ids)
    for first in range(passage.start, end, POSITIONS_AT_ONCE):
        stop = min(first + POSITIONS_AT_ONCE, end)
        plain_PV = _log_p(model, plain_TD[first:stop])
        steered_PV = _log_p(model, steered_TD[first:stop])
        next_ids = torch.tensor(passage.ids[first + 1 : stop + 1], device=plain_PV.device)
        nats_plain -= _total(plain_PV, next_ids)
        nats_steered -= _total(steered_PV, next_ids)
        # A token of probability 0 adds nothing, whatever the steered model makes of it: 0 · (−∞) would be NaN.
        terms_PV = torch.where(plain_PV.isneginf(), 0.0, plain_PV.exp() * (plain_PV - steered_PV))
        # Never below 0, where rounding may bring equal distributions.
        kl += float(terms_PV.sum(-1).clamp_min(0).sum())
    return Divergence(end - passage.start, kl, end - passage.start - 1, nats_plain, nats_steered)


def _total(log_p_PV: Tensor, next_ids: Tensor) -> float:
    """Log probability of the tokens that follow, summed; the very last position may have none."""
    return float(log_p_PV[: len(next_ids)].gather(1, next_ids[:, None]).sum())


def _log_p(model: LanguageModel, hidden_PD: Tensor) -> Tensor:
    logits_PV = to_logits(model, hidden_PD)
    dtype = torch.float32 if logits_PV.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    return torch.log_softmax(logits_PV.to(dtype), dim=-1)
