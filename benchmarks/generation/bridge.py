"""TransformerLens 4: ``generate`` of a TransformerBridge, with a hook at ``hook_resid_post``."""

from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from generation.by_condition import by_condition
from generation.reading import Reader
from generation.work import Work, Write


def load(work: Work) -> Write:
    reader = Reader(work.folder)
    model: Any = TransformerBridge.boot_transformers(str(work.folder), dtype=torch.float32, device="cpu")

    def generate(inputs: dict[str, Tensor], layer: int | None, vector_D: Tensor | None, max_tokens: int) -> Tensor:
        hooks = [] if layer is None else [(f"blocks.{layer}.hook_resid_post", lambda hidden, hook: hidden + vector_D)]  # noqa: ARG005
        with model.hooks(fwd_hooks=hooks):
            out_BT: Tensor = model.generate(
                inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=reader.stop,
                return_type="tokens",
                verbose=False,
            )
        return out_BT

    return by_condition(work, reader, generate)
