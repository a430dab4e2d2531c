"""One conversation at a time: slow, and right for every decoder-only model. What the packed engine is compared with.

Shapes: T tokens, P positions (masks), L layers wanted, D width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading.conversation import Batches, Conversation, Pooled, Wanted


class AloneReader:
    """Reads a transformers model whose attention cannot be packed (see `Reader`)."""

    def __init__(self, model: LanguageModel, reason: str) -> None:
        """``reason``: why it is not packed."""
        self.model = model
        self.tokenizer = model.tokenizer
        self.name, self.fingerprint, self.dtype = model.name, model.fingerprint, model.dtype
        self.origin = model.origin
        self.n_layers, self.width, self.context_length = model.n_layers, model.width, model.context_length
        self.about = f"{model.name} in {model.dtype} on {model.device} ({model.dtype_reason})"
        self._reason = reason

    def batches(self, groups: Sequence[Sequence[Conversation]], token_budget: int | None = None) -> Batches:
        """See `Reader`."""
        longest = max(len(each.ids_T) for group in groups for each in group)
        reason = f"one conversation at a time, because {self._reason}"
        return Batches(tuple((number,) for number in range(len(groups))), token_budget or longest, reason)

    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        """See `Reader`."""
        return [read_alone(self.model, conversation, wanted) for conversation in conversations]

    def close(self) -> None:
        """Nothing to let go of."""


def read_alone(model: LanguageModel, conversation: Conversation, wanted: Wanted) -> Pooled:
    """Run one conversation through the blocks and average the output of every block over each mask.

    Sums are float32, on the device of the block.
    """
    masks_PT = conversation.masks_PT
    counts_P1 = np.maximum(masks_PT.sum(axis=1, keepdims=True), 1)
    weight_PT = torch.from_numpy((masks_PT / counts_P1).astype(np.float32))
    first_T = torch.from_numpy(masks_PT[0])
    means: dict[int, Tensor] = {}
    norms: dict[int, Tensor] = {}
    kept: list[Tensor] = []

    def read(layer: int, hidden_BTD: Tensor) -> None:
        hidden_TD = hidden_BTD[0]
        means[layer] = weight_PT.to(hidden_TD.device) @ hidden_TD.float()
        norm_T = torch.linalg.vector_norm(hidden_TD.float(), dim=-1)
        norms[layer] = weight_PT[0].to(hidden_TD.device) @ norm_T
        if wanted.tokens:
            kept.append(hidden_TD[first_T.to(hidden_TD.device)].cpu())

    with torch.inference_mode(), reading(model, read, wanted.layers):
        run_blocks(model, torch.from_numpy(conversation.ids_T[None]).long().to(model.device))
    return Pooled(
        mean_PLD=torch.stack([means[layer].cpu() for layer in wanted.layers], dim=1).numpy(),
        norm_L=torch.stack([norms[layer].cpu() for layer in wanted.layers]).numpy(),
        tokens_LTD=torch.stack(kept) if wanted.tokens else None,
    )
