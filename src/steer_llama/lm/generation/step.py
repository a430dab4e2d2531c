"""One forward pass of a generation: a token of every answer that is being written, and the prompts of new ones.

Shapes: R rows of the pass, N answers that are being written, H query heads, K key-value heads, G queries a
key-value head has, C columns, A head width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steer_llama.lm.generation.slots import Slots
from steer_llama.lm.packing import How, attend_to

BLOCK = 16
"""Prompt tokens that attend in one call, and columns by which attention grows: a row's arithmetic then is the same
whoever its neighbours are, and whether a beginning was computed or taken over. Measured on CPUs: what is masked within
whole blocks changes no bit."""


@dataclass(frozen=True)
class Prompt:
    """A new conversation, from its first token that has to be computed on."""

    slot: int
    ids: tuple[int, ...]
    start: int
    """Tokens, a multiple of `BLOCK`, whose keys and values are taken over."""
    donor: int
    """The slot that has them, which may be its own."""
    joins: int | None = None
    """The layer up to whose output it is the very same as another new one, which is computed for both; ``None``: it
    is computed from the first layer on."""
    mate: int = 0
    """That other one's slot; it takes nothing over."""


class Step:
    """Lays a pass out and attends for it (`lm.packing.Attends`).

    The answers that are being written are those of slots 0 to N − 1 and come first, one row each. The prompts follow,
    those that join others last, so that the rows of every layer are the first ones of the pass.
    """

    def __init__(
        self, slots: Slots, tokens: list[int], lengths: list[int], prompts: list[Prompt], min_rows: int
    ) -> None:
        """Lay it out.

        Args:
            slots: the keys and values so far.
            tokens: the newest token of every answer that is being written.
            lengths: how many tokens their conversations have before it.
            prompts: the new conversations in the order of their slots, which follow those of the answers: one that
                takes over from another comes after it, and those that join come last, by the layer.
            min_rows: rows that the pass has at least; those that are filled up say nothing.
        """
        self._slots, self._prompts = slots, prompts
        self._n_writing = len(tokens)
        positions, rows, after = list(lengths), list(range(len(tokens))), [0] * len(tokens)
        ids = list(tokens)
        self.last_R = list(range(len(tokens)))
        """The rows after which a token is to be chosen: those of the answers, then the last one of each prompt."""
        self._first_row: list[int] = []
        whole = sum(prompt.joins is None for prompt in prompts)
        for number, prompt in enumerate(prompts):
            if number == whole:
                _fill(min_rows, ids, positions, rows, after)
            self._first_row.append(len(rows))
            if prompt.joins is None:
                ids += prompt.ids[prompt.start :]
            positions += range(prompt.start, len(prompt.ids))
            rows += [self._n_writing + number] * (len(prompt.ids) - prompt.start)
            after += range(prompt.start - len(prompt.ids), 0)
            self.last_R.append(len(rows) - 1)
        if whole == len(prompts):
            _fill(min_rows, ids, positions, rows, after)
        self.ids_R = np.array(ids, dtype=np.int32)
        """Of the rows of the first layer."""
        self.positions_R = np.array(positions, dtype=np.int32)
        """Of all rows that there will be."""
        self.row_R = torch.tensor(rows)
        self.after_prompt_R = torch.tensor(after)
        """Distance from the first token of the answer in prompts; the answers' own are for the caller to count."""
        longest = max([length + 1 for length in lengths] + [len(prompt.ids) for prompt in prompts])
        slots.make_room(longest)
        self._columns = -(-max([length + 1 for length in lengths], default=0) // BLOCK) * BLOCK
        self._length_N = torch.tensor(lengths)
        self._made: dict[Any, Any] = {}

    def joined(self, layer: int, hidden_RD: Tensor) -> Tensor:
        """The output of a layer with the rows of the prompts that go their own way from there on."""
        joining = [prompt for prompt in self._prompts if prompt.joins == layer]
        if not joining:
            return hidden_RD
        first_row = {prompt.slot: first for prompt, first in zip(self._prompts, self._first_row, strict=True)}
        copies = [hidden_RD[first_row[each.mate] :][: len(each.ids)] for each in joining]
        return torch.cat([hidden_RD, *copies])

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float | None, how: How
    ) -> Tensor:
        """See `lm.packing.Attends`."""
        held = self._slots.of(layer, keys, values)
        out_RHA = queries.new_zeros(queries.shape[2], queries.shape[1], values.shape[-1])
        if self._n_writing:
            out_RHA[: self._n_writing] = self._writing(queries, keys, values, held, scaling, how)
        for prompt, begin in zip(self._prompts, self._first_row, strict=True):
            if prompt.joins is not None and layer <= prompt.joins:
                for each in held:
                    each[prompt.slot, :, : len(prompt.ids)] = each[prompt.mate, :, : len(prompt.ids)]
                continue
            end = begin + len(prompt.ids) - prompt.start
            own = slice(prompt.start, len(prompt.ids))
            for each, new in zip(held, (keys, values), strict=True):
                if prompt.start and prompt.donor != prompt.slot:
                    each[prompt.slot, :, : prompt.start] = each[prompt.donor, :, : prompt.start]
                each[prompt.slot, :, own] = new[0, :, begin:end]
            self._reading(out_RHA[begin:end], queries[:, :, begin:end], prompt, held, scaling, how)
        return out_RHA[None]

    def _writing(
        self, queries: Tensor, keys: Tensor, values: Tensor, held: tuple[Tensor, Tensor], scaling: Any, how: How
    ) -> Tensor:
        """What the answers' newest tokens attend to (N, H, A)."""
        n, heads, kv_heads = self._n_writing, queries.shape[1], keys.shape[1]
        slot_N, length_N = self._on("slots", queries.device, lambda: torch.arange(n)), self._lengths(queries.device)
        for each, new in zip(held, (keys, values), strict=True):
            each[slot_N, :, length_N] = new[0, :, :n].transpose(0, 1)
        seen, seen_values = (each[:n, :, : self._columns] for each in held)
        queries_NHA = queries[0, :, :n].transpose(0, 1)
        mask_N11C = self._mask(how, queries)
        if how.softcap is not None or how.sinks_H is not None:
            attended = attend_to(queries_NHA[:, :, None], seen, seen_values, mask_N11C, scaling, how)
            return attended[:, :, 0]
        # The queries that share keys stand as rows of one head, so nothing has to be repeated.
        grouped_NKGA = queries_NHA.reshape(n, kv_heads, heads // kv_heads, -1)
        attended = attend_to(grouped_NKGA, seen, seen_values, mask_N11C, scaling, how)
        return attended.reshape(n, heads, -1)

    def _reading(
        self, out_RHA: Tensor, queries: Tensor, prompt: Prompt, held: tuple[Tensor, Tensor], scaling: Any, how: How
    ) -> None:
        """What a prompt's tokens attend to, block by block."""
        step = BLOCK if queries.device.type == "cpu" else len(out_RHA)
        for begin in range(0, len(out_RHA), step):
            end = min(begin + step, len(out_RHA))
            upto = prompt.start + end
            seen, seen_values = (each[prompt.slot : prompt.slot + 1, :, :upto] for each in held)
            mask_RC = self._causal(end - begin, upto, how, queries)
            attended = attend_to(queries[:, :, begin:end], seen, seen_values, mask_RC, scaling, how)
            out_RHA[begin:end] = attended[0].transpose(0, 1)

    def _lengths(self, device: torch.device) -> Tensor:
        return self._on("lengths", device, lambda: self._length_N)

    def _on(self, name: str, device: torch.device, make: Any) -> Tensor:
        if (name, device) not in self._made:
            self._made[name, device] = make().to(device)
        found: Tensor = self._made[name, device]
        return found

    def _mask(self, how: How, like: Tensor) -> Tensor:
        """Which columns each answer's newest token sees (N, 1, 1, C)."""
        key = ("mask", how.window, like.device, like.dtype)
        if key not in self._made:
            column_1C = torch.arange(self._columns, device=like.device)[None]
            length_N1 = self._lengths(like.device)[:, None]
            hidden_NC = column_1C > length_N1
            if how.window is not None:
                hidden_NC |= column_1C <= length_N1 - how.window
            self._made[key] = _minus_infinity(hidden_NC, like)[:, None, None]
        found: Tensor = self._made[key]
        return found

    def _causal(self, length: int, upto: int, how: How, like: Tensor) -> Tensor:
        """Which columns the last ``length`` of ``upto`` tokens see (R, C)."""
        key = ("causal", length, upto, how.window, like.device, like.dtype)
        if key not in self._made:
            query_R1 = torch.arange(upto - length, upto, device=like.device)[:, None]
            column_1C = torch.arange(upto, device=like.device)[None]
            hidden_RC = column_1C > query_R1
            if how.window is not None:
                hidden_RC |= column_1C <= query_R1 - how.window
            self._made[key] = _minus_infinity(hidden_RC, like)
        found: Tensor = self._made[key]
        return found


def _fill(min_rows: int, *columns: list[int]) -> None:
    """Repeat the first row until there are as many as there have to be."""
    missing = max(0, min_rows - len(columns[0]))
    for column in columns:
        column.extend(column[:1] * missing)


def _minus_infinity(hidden: Tensor, like: Tensor) -> Tensor:
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, -torch.inf)
