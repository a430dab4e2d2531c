"""TransformerLens 4: ``run_with_cache`` of a TransformerBridge, one conversation at a time."""

from typing import Any

import numpy.typing as npt
import torch
from transformer_lens.model_bridge import TransformerBridge

from peers.loading import means, one
from peers.work import Conversation, Extract, Found, Work, averaged


def load(work: Work) -> Extract:
    model: Any = TransformerBridge.boot_transformers(str(work.folder), dtype=torch.float32, device="cpu")
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(work.n_layers)]

    def mean_of(conversation: Conversation) -> npt.NDArray[Any]:
        _, cache = model.run_with_cache(one(conversation), names_filter=lambda name: name in names, return_type=None)
        return means((cache[name] for name in names), conversation)

    def extract(some: Work) -> Found:
        with torch.inference_mode():
            return averaged(some, mean_of)

    return extract
