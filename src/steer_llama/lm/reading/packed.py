"""The default backend: packed rows, through transformers' own model code or through blocks that are fused for the CPU.

What a batch costs is what must be computed: each common beginning once, no padding, no vocabulary projection, nothing
above the deepest layer that is wanted. Sums are taken where the residual stream is and leave the device once a pass.

Shapes: R rows of a pass, T tokens, P positions (masks), L layers wanted, D width.
"""

from collections.abc import Sequence

import numpy as np
import torch

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing import Blocks, Memory, ModelCode, Pass, common_prefix, pack
from steer_llama.lm.packing.tree import Ids, Span
from steer_llama.lm.reading.conversation import Batches, Conversation, Pooled, Wanted
from steer_llama.lm.reading.ordering import fill_batches
from steer_llama.lm.reading.sums import Sums

MIN_ROOT = 16
"""A beginning that all conversations share is worth a pass of its own from this many tokens on."""


class PackedReader:
    """Reads a transformers model batch by batch (see `Reader`)."""

    def __init__(
        self, model: LanguageModel, token_budget: int, budget_reason: str = "as asked", blocks: Blocks | None = None
    ) -> None:
        """Prepare it.

        Args:
            model: the weights.
            token_budget: the most rows of a forward pass, unless an earlier run has settled another.
            budget_reason: why so many; for the log.
            blocks: what runs the model's blocks; default: transformers' code.
        """
        self.model = model
        self._blocks = blocks or ModelCode(model)
        self.tokenizer = model.tokenizer
        self.name, self.fingerprint, self.dtype = model.name, model.fingerprint, model.dtype
        self.origin = model.origin
        self.n_layers, self.width, self.context_length = model.n_layers, model.width, model.context_length
        self.about = f"{model.name} in {model.dtype} on {model.device} ({model.dtype_reason}), {self._blocks.about}"
        self.token_budget = self._settled = token_budget
        self.budget_reason = budget_reason
        self._root = np.zeros(0, np.int32)
        self._memory = Memory()

    def batches(self, groups: Sequence[Sequence[Conversation]], token_budget: int | None = None) -> Batches:
        """See `Reader`."""
        budget = token_budget or self.token_budget
        self._root = _root_of(groups)
        self._memory = Memory()
        self._settled = budget
        filled = fill_batches([[each.ids_T for each in group] for group in groups], len(self._root), budget)
        shared = f", the first {len(self._root)} tokens once for all" if len(self._root) else ""
        reason = self.budget_reason if budget == self.token_budget else "as settled before"
        said = f"packed batches of at most {budget} tokens ({reason}): {len(filled)}{shared}"
        return Batches(filled, budget, said, self._blocks.name)

    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        """See `Reader`."""
        root = len(self._root)
        with torch.inference_mode():
            if root and self._memory.empty:
                packed = pack([self._root])
                for begin, end in self._passes(root):
                    part = Pass(packed.runs, (begin, end), self._memory, keep_as=begin)
                    self._blocks.run(packed.ids_R[begin:end], packed.positions_R[begin:end], part, (), _nothing)
                self._memory.become_root(root)
            packed = pack([each.ids_T for each in conversations], root)
            sums = Sums(conversations, packed, root, wanted, self.width, self.model.hf.dtype)
            rows = len(packed.ids_R)
            for begin, end in self._passes(rows):
                sums.begin((begin, end))
                part = Pass(packed.runs, (begin, end), self._memory, keep_as=begin if rows > self._settled else None)
                ids_R, positions_R = packed.ids_R[begin:end], packed.positions_R[begin:end]
                self._blocks.run(ids_R, positions_R, part, wanted.layers, sums.add)
                sums.end()
            self._memory.forget_batch()
        return sums.pooled()

    def _passes(self, rows: int) -> list[Span]:
        """Passes of one size: a short one at the end would multiply as slowly as a short batch."""
        step = -(-rows // -(-rows // self._settled))
        return [(begin, min(begin + step, rows)) for begin in range(0, rows, step)]

    def close(self) -> None:
        """Nothing to let go of."""


def _nothing(_layer: int, _hidden_BRD: torch.Tensor) -> None:
    """Reads nothing."""


def _root_of(groups: Sequence[Sequence[Conversation]]) -> Ids:
    """The tokens that all conversations begin with, as far as no mask reaches into them."""
    first = groups[0][0].ids_T
    length = len(first)
    for each in (conversation for group in groups for conversation in group):
        masked = np.flatnonzero(each.masks_PT.any(0))
        length = min(length, common_prefix(first[:length], each.ids_T), len(each.ids_T) - 1, *masked[:1].tolist())
    return first[:length] if length >= MIN_ROOT else first[:0]
