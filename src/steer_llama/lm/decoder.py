"""From tokens to logits over packed rows: what runs the blocks is chosen once for a model.

Shapes: R rows of a pass, N answers, D width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing import Attends, Blocks, FusedBlocks, PackedMatrix, carries_hooks
from steer_llama.lm.packing.blocks import Edit
from steer_llama.lm.packing.tree import Ids
from steer_llama.lm.reading.suitable import fastest_blocks, obstacle
from steer_llama.lm.vocabulary import scaled_logits

_EXACT_ROWS = 16
"""Rows of a pass from which on oneDNN's products come out the same bit by bit, however many there are. On a CPU a pass
of fewer takes as long, since reading the weights is what takes the time."""


class Decoder:
    """Runs a model's passes from tokens to logits."""

    def __init__(self, model: LanguageModel, blocks: Blocks) -> None:
        self._model, self._blocks = model, blocks
        fused = isinstance(blocks, FusedBlocks)
        self.min_rows = _EXACT_ROWS if fused else 1
        """Rows that a pass has at least, so that its arithmetic is the same as that of a larger one."""
        self.rows_may_join = fused
        """Whether ``edit`` may give more rows than it got, for which positions are there already."""
        head = model.hf.get_output_embeddings()
        self._head: Any = PackedMatrix((head,)) if fused and type(head) is nn.Linear else head

    def normed(
        self, ids_R: Ids, positions_R: Ids, part: Attends, layers: Sequence[int] = (), edit: Edit | None = None
    ) -> Tensor:
        """What the final norm gives (R, D) after one pass, in which ``edit`` changes the output of ``layers``."""
        return self._blocks.normed(ids_R, positions_R, part, layers, edit or _unchanged)

    def project(self, normed_ND: Tensor) -> Tensor:
        """Logits (N, V), in float32 or better."""
        filling = max(0, self.min_rows - len(normed_ND))
        padded_ND = torch.cat([normed_ND, normed_ND[:1].expand(filling, -1)]) if filling else normed_ND
        return scaled_logits(self._model, self._head(padded_ND))[: len(normed_ND)]


def _unchanged(_layer: int, hidden_RD: Tensor) -> Tensor:
    return hidden_RD


_known: "WeakKeyDictionary[LanguageModel, tuple[Any, Decoder | None]]" = WeakKeyDictionary()


def decoder_of(model: LanguageModel) -> Decoder | None:
    """The model's decoder; ``None`` where its attention cannot be packed, so that only padded batches are left.

    It is kept while the model lives, and made anew when the weights have been changed or carry other hooks.
    """
    state = _state(model)
    known = _known.get(model)
    if known is None or known[0] != state:
        known = _known[model] = (state, None if obstacle(model) else Decoder(model, fastest_blocks(model)))
    return known[1]


def _state(model: LanguageModel) -> Any:
    """Changes when the weights do, or what hooks them."""
    weights = [(each.data_ptr(), each.dtype, each._version) for each in model.hf.parameters()]
    return weights, carries_hooks(model.hf)
