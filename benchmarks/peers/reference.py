"""What all others are compared with: float64, one conversation at a time, hooks on the blocks."""

from typing import Any

import numpy.typing as npt
import torch

from peers.loading import load_model, means, one
from peers.work import Conversation, Extract, Found, Work, averaged


def load(work: Work) -> Extract:
    model = load_model(work, torch.float64)
    kept: list[torch.Tensor] = []
    for block in model.model.layers:
        block.register_forward_hook(lambda _block, _inputs, output: kept.append(output))

    def mean_of(conversation: Conversation) -> npt.NDArray[Any]:
        kept.clear()
        model.model(one(conversation), use_cache=False)
        return means(kept, conversation)

    def extract(some: Work) -> Found:
        with torch.inference_mode():
            return averaged(some, mean_of)

    return extract
