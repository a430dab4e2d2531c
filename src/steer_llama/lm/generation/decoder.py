"""What runs a model's blocks for a generation, and projects onto the vocabulary: chosen once for a model.

Shapes: R rows of a pass, N answers, D width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from steer_llama.lm.generation.step import Step
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing import Blocks, FusedBlocks, PackedMatrix
from steer_llama.lm.packing.blocks import Edit
from steer_llama.lm.reading.suitable import fastest_blocks, obstacle
from steer_llama.lm.score import scaled_logits

_EXACT_ROWS = 16
"""Rows of a pass from which on oneDNN's products come out the same bit by bit, however many there are. On a CPU a pass
of fewer takes as long, since reading the weights is what takes the time."""


class Decoder:
    """Runs the passes of a generation."""

    def __init__(self, model: LanguageModel, blocks: Blocks) -> None:
        self._model, self._blocks = model, blocks
        fused = isinstance(blocks, FusedBlocks)
        self.min_rows = _EXACT_ROWS if fused else 1
        """Rows that a pass has at least, so that its arithmetic is the same as that of a larger one."""
        head = model.hf.get_output_embeddings()
        self._head: Any = PackedMatrix((head,)) if fused and type(head) is nn.Linear else head

    def logits(self, step: Step, layers: Sequence[int], edit: Edit) -> Tensor:
        """Logits (N, V) after every answer of the step, in float32 or better."""
        normed_RD = self._blocks.normed(step.ids_R, step.positions_R, step, layers, edit)
        last_ND = normed_RD[torch.tensor(step.last_R, device=normed_RD.device)]
        filling = max(0, self.min_rows - len(last_ND))
        padded_ND = torch.cat([last_ND, last_ND[:1].expand(filling, -1)]) if filling else last_ND
        return scaled_logits(self._model, self._head(padded_ND))[: len(last_ND)]


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
    hooked = any(each._forward_hooks or each._forward_pre_hooks for each in model.hf.modules())
    return weights, hooked
