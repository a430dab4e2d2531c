"""Keys and values of the conversations that are being written, one slot each.

Shapes: S slots, K key-value heads, C columns, A head width.
"""

import torch
from torch import Tensor

_STEP = 64
"""Columns by which the slots grow."""


class Slots:
    """A slot holds its conversation's first token in column 0, so a row never needs padding on the left."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def make_room(self, columns: int) -> None:
        """See to it that every slot has at least so many columns."""
        self._columns = max(self._columns, -(-columns // _STEP) * _STEP)

    def of(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (S, K, C, A) of a layer, of the kind of those given (…, K, R, A)."""
        held = self._layers.get(layer)
        if held is None or held[0].shape[2] < self._columns:
            # Zeros: what is masked still takes part in a product, and must be finite there.
            grown = self._empty(keys), self._empty(values)
            if held is not None:
                for new, old in zip(grown, held, strict=True):
                    new[:, :, : old.shape[2]] = old
            held = self._layers[layer] = grown
        return held

    def move(self, origin: int, target: int, columns: int) -> None:
        """Put what a slot's first columns hold into another slot."""
        for held in self._layers.values():
            for each in held:
                each[target, :, :columns] = each[origin, :, :columns]

    def _empty(self, like: Tensor) -> Tensor:
        shape = (self._count, like.shape[1], self._columns, like.shape[3])
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
