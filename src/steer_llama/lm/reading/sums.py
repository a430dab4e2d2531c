"""Adding up the residual stream over every mask of every conversation while a packed batch runs.

Shapes: R rows, T tokens, P positions (masks), L layers wanted, D width, S sums (one per conversation and mask that is
not empty), C conversations.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from steer_llama.lm.packing.tree import Packed, Span
from steer_llama.lm.reading.conversation import Conversation, Pooled, Wanted


class Sums:
    """What is kept of one packed batch, pass by pass."""

    def __init__(
        self,
        conversations: Sequence[Conversation],
        packed: Packed,
        root: int,
        wanted: Wanted,
        width: int,
        dtype: torch.dtype,
    ) -> None:
        """Prepare it.

        ``root`` tokens of every conversation have no rows, and no mask covers one. Single tokens are kept as ``dtype``.
        """
        self._conversations, self._wanted, self._width = conversations, wanted, width
        rows_of = [_rows_of(path) for path in packed.paths]
        rows = len(packed.ids_R)
        self._places = [(c, p) for c, each in enumerate(conversations) for p in np.flatnonzero(each.masks_PT.any(1))]
        self._weights_SR = np.zeros((len(self._places), rows), np.float32)
        for s, (c, p) in enumerate(self._places):
            self._weights_SR[s, rows_of[c]] = conversations[c].masks_PT[p, root:]
        self._first_CR = np.zeros((len(conversations), rows), np.float32)
        for c, each in enumerate(conversations):
            self._first_CR[c, rows_of[c]] = each.masks_PT[0, root:]
        self._kept = _Kept(conversations, rows_of, root, wanted, dtype) if wanted.tokens else None
        self._sums_LSD: npt.NDArray[np.float64] | None = None
        self._norms_LC = np.zeros((len(wanted.layers), len(conversations)), np.float64)
        self._arrived: list[tuple[int, Tensor, Tensor]] = []
        self._span = (0, rows)
        self._at: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def begin(self, span: Span) -> None:
        """Rows ``span`` are computed next."""
        self._span, self._at = span, {}
        if self._kept is not None:
            self._kept.begin(span)

    def add(self, layer: int, hidden_BRD: Tensor) -> None:
        """Take the output of a block, on whatever device it is."""
        hidden_RD = hidden_BRD[0]
        weights_SR, first_CR = self._on(hidden_RD.device)
        full_RD = hidden_RD.float()
        norm_R = torch.linalg.vector_norm(full_RD, dim=-1)
        self._arrived.append((self._wanted.layers.index(layer), weights_SR @ full_RD, first_CR @ norm_R))
        if self._kept is not None:
            self._kept.add(self._wanted.layers.index(layer), hidden_RD)

    def end(self) -> None:
        """The pass is over: its sums leave the devices, once for each, and are added up in float64."""
        sums_LSD = np.zeros((len(self._wanted.layers), len(self._places), self._width))
        for device in {sums.device for _, sums, _ in self._arrived}:
            here = [entry for entry in self._arrived if entry[1].device == device]
            at = [layer for layer, _, _ in here]
            sums_LSD[at] = torch.stack([sums for _, sums, _ in here]).cpu().numpy()
            self._norms_LC[at] += torch.stack([norms for _, _, norms in here]).cpu().numpy()
        self._sums_LSD = sums_LSD if self._sums_LSD is None else self._sums_LSD + sums_LSD
        self._arrived = []

    def pooled(self) -> list[Pooled]:
        """The means of every conversation, after the last pass."""
        assert self._sums_LSD is not None, "a pass has ended"
        shape = (len(self._wanted.layers), self._width)
        means = [np.zeros((len(each.masks_PT), *shape), np.float32) for each in self._conversations]
        for s, (c, p) in enumerate(self._places):
            means[c][p] = self._sums_LSD[:, s] / self._conversations[c].masks_PT[p].sum()
        counts = [max(1, int(each.masks_PT[0].sum())) for each in self._conversations]
        tokens = self._kept.tokens if self._kept is not None else [None] * len(means)
        return [
            Pooled(mean_PLD, (self._norms_LC[:, c] / counts[c]).astype(np.float32), tokens[c])
            for c, mean_PLD in enumerate(means)
        ]

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The weights of this pass's rows, on a device."""
        if device not in self._at:
            rows = slice(*self._span)
            self._at[device] = (
                torch.from_numpy(self._weights_SR[:, rows]).to(device),
                torch.from_numpy(self._first_CR[:, rows]).to(device),
            )
        return self._at[device]


class _Kept:
    """Single tokens of every conversation's first mask; each block's leave its device in one piece."""

    def __init__(
        self,
        conversations: Sequence[Conversation],
        rows_of: Sequence[npt.NDArray[np.int64]],
        root: int,
        wanted: Wanted,
        dtype: torch.dtype,
    ) -> None:
        self._dtype = dtype
        self._rows = [rows[each.masks_PT[0, root:]] for rows, each in zip(rows_of, conversations, strict=True)]
        self._layers = len(wanted.layers)
        self.tokens: list[Tensor | None] = [None] * len(conversations)
        self._here: list[tuple[int, int, int]] = []
        self._index = torch.zeros(0, dtype=torch.int64)

    def begin(self, span: Span) -> None:
        """Which of the rows ``span`` are kept, and of whom."""
        self._here, parts = [], []
        for c, rows in enumerate(self._rows):
            first, last = (int(np.searchsorted(rows, end)) for end in span)
            self._here.append((c, first, last))
            parts.append(rows[first:last] - span[0])
        self._index = torch.from_numpy(np.concatenate(parts))

    def add(self, layer_index: int, hidden_RD: Tensor) -> None:
        """Keep the output of a block."""
        picked = hidden_RD.index_select(0, self._index.to(hidden_RD.device)).to(self._dtype).cpu()
        for (c, first, last), piece in zip(self._here, picked.split([b - a for _, a, b in self._here]), strict=True):
            kept = self.tokens[c]
            if kept is None:
                kept = torch.zeros(self._layers, len(self._rows[c]), hidden_RD.shape[-1], dtype=self._dtype)
                self.tokens[c] = kept
            kept[layer_index, first:last] = piece


def _rows_of(path: Sequence[Span]) -> npt.NDArray[np.int64]:
    """The row of every token that has one, in the conversation's order."""
    return np.concatenate([np.arange(*span) for span in path]) if path else np.zeros(0, np.int64)
