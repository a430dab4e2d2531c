"""The model that most of the ways start from, batches for it, and the means of what it gives.

Shapes: B batch, T tokens, L layers, D width.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from turns.weights import load_weights

from peers.work import Conversation, Work


def load_model(work: Work, dtype: torch.dtype = torch.float32) -> Any:
    """The whole model, vocabulary projection included."""
    return load_weights(work.folder, dtype)


def one(conversation: Conversation) -> Tensor:
    """Its tokens as a batch of one."""
    return torch.tensor([conversation.ids])


def padded(conversations: Sequence[Conversation]) -> dict[str, Tensor]:
    """Their tokens, padded on the right, with the attention mask."""
    longest = max(len(each.ids) for each in conversations)
    ids_BT = torch.zeros(len(conversations), longest, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for row, each in enumerate(conversations):
        ids_BT[row, : len(each.ids)] = torch.tensor(each.ids)
        mask_BT[row, : len(each.ids)] = 1
    return {"input_ids": ids_BT, "attention_mask": mask_BT}


def means(hidden: Iterable[Tensor], conversation: Conversation, row: int = 0) -> npt.NDArray[Any]:
    """Mean over the response (L, D) of each layer's (B, T, D), in one row of it."""
    where = slice(conversation.start, len(conversation.ids))
    mean_LD: npt.NDArray[Any] = torch.stack([hidden_BTD[row, where].mean(0) for hidden_BTD in hidden]).numpy()
    return mean_LD
