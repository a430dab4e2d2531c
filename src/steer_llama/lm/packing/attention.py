"""Attention over packed rows: every run attends to its own past and to nothing else.

It is registered with transformers as an attention implementation, so the model's own code runs as it is.

Shapes: H heads, R rows of the pass, K keys, D head width; one batch row throughout.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface

from steer_llama.lm.packing.tree import Run, Span

NAME = "steer_llama_packed"
_CPU_BLOCK = {torch.float32: 64}
_CPU_BLOCK_ELSE = 192
"""Queries at a time on a CPU, whose kernel computes what the causal mask then hides: with few of them it is less, and
in half precision it takes many to keep its matrix units busy."""


@dataclass(frozen=True)
class How:
    """What a layer does besides causal attention."""

    window: int | None = None
    """Of the tokens before it, itself included, a query sees this many; ``None``: all."""
    softcap: float | None = None
    sinks_H: Tensor | None = None


class Attends(Protocol):
    """Says what the rows of one forward pass attend to."""

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float | None, how: How
    ) -> Tensor:
        """What the pass's rows (1, H, R, D) attend to, as (1, R, H, D); keys and values may have fewer heads."""
        ...


class Memory:
    """Keys and values of rows that were computed in earlier passes, layer by layer.

    Rows are numbered as in `tree`: the root's are below zero, the batch's own begin at zero.
    """

    def __init__(self) -> None:
        self._kept: dict[int, list[tuple[int, Tensor, Tensor]]] = {}

    @property
    def empty(self) -> bool:
        """Nothing is kept."""
        return not self._kept

    def add(self, layer: int, first_row: int, keys_HRD: Tensor, values_HRD: Tensor) -> None:
        """Keep the rows from ``first_row`` on."""
        # Copies, as they may be parts of larger tensors.
        self._kept.setdefault(layer, []).append((first_row, keys_HRD.contiguous(), values_HRD.contiguous()))

    def become_root(self, rows: int) -> None:
        """What was kept of a batch of ``rows`` rows precedes all later batches."""
        for layer, pieces in self._kept.items():
            self._kept[layer] = [(first_row - rows, *kept) for first_row, *kept in pieces]

    def forget_batch(self) -> None:
        """Keep the root's rows alone."""
        for layer, pieces in self._kept.items():
            self._kept[layer] = [piece for piece in pieces if piece[0] < 0]

    def get(self, layer: int, span: Span) -> Iterator[tuple[Tensor, Tensor]]:
        """Keys and values of a span's rows, in pieces."""
        for first_row, keys_HRD, values_HRD in self._kept.get(layer, ()):
            begin, end = max(span[0], first_row), min(span[1], first_row + keys_HRD.shape[-2])
            if begin < end:
                place = slice(begin - first_row, end - first_row)
                yield keys_HRD[..., place, :], values_HRD[..., place, :]


class Pass:
    """One forward pass over some rows of a packed batch."""

    def __init__(self, runs: Sequence[Run], rows: Span, memory: Memory, keep_as: int | None) -> None:
        """Prepare it.

        Args:
            runs: the batch's runs.
            rows: which rows of the batch the pass computes.
            memory: rows that were computed before.
            keep_as: where later passes need these rows: the number of the first one in ``memory``.
        """
        self._runs = [part for run in runs if (part := run.within(*rows))]
        self._first, self._memory, self._keep_as = rows[0], memory, keep_as
        self._masks: dict[Any, Tensor] = {}

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float | None, how: How
    ) -> Tensor:
        """What the pass's rows (1, H, R, D) attend to, as (1, R, H, D)."""
        if self._keep_as is not None:
            self._memory.add(layer, self._keep_as, keys, values)
        out_RHD = queries.new_empty(queries.shape[2], queries.shape[1], values.shape[-1])
        for run in self._runs:
            seen, seen_values = self._seen(layer, run, keys, values)
            step = run.rows[1] - run.rows[0]
            if queries.device.type == "cpu":
                step = _CPU_BLOCK.get(queries.dtype, _CPU_BLOCK_ELSE)
            for begin in range(run.rows[0], run.rows[1], step):
                part = run.within(begin, begin + step)
                assert part is not None, "a block of a run has rows"
                place, upto = slice(begin - self._first, part.rows[1] - self._first), part.last_position
                attended = attend_to(
                    queries[:, :, place],
                    seen[:, :, :upto],
                    seen_values[:, :, :upto],
                    self._mask(part, how, queries),
                    scaling,
                    how,
                )
                out_RHD[place] = attended[0].transpose(0, 1)
        return out_RHD[None]

    def _seen(self, layer: int, run: Run, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a run's whole conversation, from its first token on."""
        pieces: list[tuple[Tensor, Tensor]] = []
        for span in (*run.before, run.rows):
            pieces += self._memory.get(layer, (span[0], min(span[1], self._first)))
            begin = max(span[0], self._first) - self._first
            if (end := span[1] - self._first) > begin:
                pieces.append((keys[:, :, begin:end], values[:, :, begin:end]))
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat([key for key, _ in pieces], dim=2), torch.cat([value for _, value in pieces], dim=2)

    def _mask(self, run: Run, how: How, like: Tensor) -> Tensor | None:
        """Which keys each query sees (R, K), or ``None`` for plain causal attention without a past."""
        length, past = run.rows[1] - run.rows[0], run.position
        window = how.window if how.window is not None and how.window < past + length else None
        if past == 0 and window is None:
            return None
        key = (run.rows, window, like.device, like.dtype)
        if key not in self._masks:
            query_R1 = torch.arange(past, past + length, device=like.device)[:, None]
            key_1K = torch.arange(past + length, device=like.device)[None]
            hidden_RK = key_1K > query_R1
            if window is not None:
                hidden_RK |= key_1K <= query_R1 - window
            zeros = torch.zeros(hidden_RK.shape, dtype=like.dtype, device=like.device)
            self._masks[key] = zeros.masked_fill_(hidden_RK, -torch.inf)
        return self._masks[key]


def attend_to(
    queries: Tensor, keys: Tensor, values: Tensor, mask_RK: Tensor | None, scaling: float | None, how: How
) -> Tensor:
    """(B, H, R, D); keys and values may have fewer heads. Without a mask (or one for each of B) it is causal."""
    if how.softcap is None and how.sinks_H is None:
        return torch.nn.functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask_RK,
            is_causal=mask_RK is None,
            scale=scaling,
            enable_gqa=queries.shape[1] != keys.shape[1],
        )
    repeat = queries.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(repeat, dim=1), values.repeat_interleave(repeat, dim=1)
    scale = queries.shape[-1] ** -0.5 if scaling is None else scaling
    scores = queries @ keys.transpose(-1, -2) * scale
    if how.softcap is not None:  # Gemma 2
        scores = torch.tanh(scores / how.softcap) * how.softcap
    if mask_RK is None:
        future_RK = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future_RK, -torch.inf)
    else:
        scores = scores + mask_RK
    if how.sinks_H is not None:  # GPT-OSS: a place that takes attention and gives nothing
        sinks = how.sinks_H.view(1, -1, 1, 1).expand(1, -1, scores.shape[-2], 1).to(scores.dtype)
        weights = torch.softmax(torch.cat([scores, sinks], dim=-1).float(), dim=-1)[..., :-1]
    else:
        weights = torch.softmax(scores.float(), dim=-1)
    return weights.to(values.dtype) @ values


_current: ContextVar[Attends] = ContextVar("steer_llama_pass")


def _packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - the signature is transformers'; the runs say who sees whom
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    how = How(sliding_window, softcap, s_aux)
    return _current.get().attend(module.layer_idx, query, key, value, scaling, how), None


AttentionInterface.register(NAME, _packed_attention)


@contextmanager
def packed_attention(hf: Any) -> Iterator[None]:
    """Let a transformers model use it; the model's own implementation is put back."""
    before = hf.config._attn_implementation
    hf.set_attn_implementation(NAME)
    try:
        yield
    finally:
        hf.set_attn_implementation(before)


@contextmanager
def computing(part: Attends) -> Iterator[None]:
    """Make ``part`` the pass that the model's attention computes."""
    token = _current.set(part)
    try:
        yield
    finally:
        _current.reset(token)
