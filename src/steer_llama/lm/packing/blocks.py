"""What computes the decoder blocks over the rows of a packed pass.

Shapes: R rows of a pass, B batch (one), D width.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from steer_llama.lm.capture import reading
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing.attention import Attends, computing, packed_attention
from steer_llama.lm.packing.tree import Ids
from steer_llama.lm.steering.hooks import editing

Read = Callable[[int, Tensor], None]
"""Takes a layer and the output (B, R, D) of its block, which may change once it has returned."""
Edit = Callable[[int, Tensor], Tensor]
"""Takes a layer and the output (R, D) of its block, and gives what the next block is to get."""


class Blocks(Protocol):
    """A way to run a model's blocks."""

    name: str
    """Tells it from the other ways, whose last bits differ."""
    about: str
    """What runs them, and why; for the log."""

    def run(self, ids_R: Ids, positions_R: Ids, part: Attends, layers: Sequence[int], read: Read) -> None:
        """Compute one pass, up to the deepest of ``layers``; up to the last block where there are none."""
        ...

    def normed(self, ids_R: Ids, positions_R: Ids, part: Attends, layers: Sequence[int], edit: Edit) -> Tensor:
        """Compute one pass, editing the output of ``layers``; what the final norm gives (R, D)."""
        ...


class ModelCode:
    """transformers' own code of the model, whatever the architecture and the device."""

    name = "transformers"

    def __init__(self, model: LanguageModel, reason: str = "") -> None:
        """``reason``: why nothing faster."""
        self._model = model
        self.about = f"through transformers' code ({reason})" if reason else "through transformers' code"

    def run(self, ids_R: Ids, positions_R: Ids, part: Attends, layers: Sequence[int], read: Read) -> None:
        """See `Blocks`."""
        with reading(self._model, read, layers):
            self._through(ids_R, positions_R, part)

    def normed(self, ids_R: Ids, positions_R: Ids, part: Attends, layers: Sequence[int], edit: Edit) -> Tensor:
        """See `Blocks`."""
        with editing(self._model, layers, lambda layer, hidden_BRD: edit(layer, hidden_BRD[0])[None]):
            return self._through(ids_R, positions_R, part)

    def _through(self, ids_R: Ids, positions_R: Ids, part: Attends) -> Tensor:
        device = self._model.device
        with packed_attention(self._model.hf), computing(part):
            output: Tensor = self._model.decoder(
                input_ids=torch.from_numpy(ids_R[None]).long().to(device),
                position_ids=torch.from_numpy(positions_R[None]).long().to(device),
                use_cache=False,
            ).last_hidden_state
        return output[0]
