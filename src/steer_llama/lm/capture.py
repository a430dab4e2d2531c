"""Reading the residual stream while the model runs.

Shapes: B batch, T tokens, D width, L layers, P positions (masks).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import Cache

from steer_llama.lm.layers import residual_of
from steer_llama.lm.load import LanguageModel

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pooled:
    """What is kept of one conversation."""

    mean_PLD: Floats
    """Mean residual over the tokens of each mask; zero where the mask is empty."""
    norm_L: Floats
    """Mean of ‖residual‖ over the tokens of the first mask."""
    tokens_LTD: Tensor | None
    """Every token of the first mask, in the model's own type; only on request."""


def pool(model: LanguageModel, ids: Sequence[int], mask_PT: npt.NDArray[np.bool_], *, keep_tokens: bool) -> Pooled:
    """Run one conversation through the blocks and average the output of every block over each mask.

    The vocabulary projection is not computed. Sums are float32, on the model's device.

    Args:
        model: the weights.
        ids: the conversation's tokens.
        mask_PT: which tokens each of the P means is taken over.
        keep_tokens: keep the first mask's tokens too.
    """
    n_layers, width = model.n_layers, model.width
    counts_P = mask_PT.sum(axis=1)
    weight_PT = torch.from_numpy(mask_PT / np.maximum(counts_P, 1)[:, None]).to(torch.float32)
    first_T = torch.from_numpy(mask_PT[0])
    mean_LPD = torch.zeros(n_layers, len(mask_PT), width)
    norm_L = torch.zeros(n_layers)
    kept: list[Tensor] = []

    def read(layer: int, hidden_BTD: Tensor) -> None:
        hidden_TD = hidden_BTD[0]
        mean_LPD[layer] = (weight_PT.to(hidden_TD.device) @ hidden_TD.float()).cpu()
        response_TD = hidden_TD[first_T.to(hidden_TD.device)]
        if len(response_TD):
            norm_L[layer] = response_TD.float().norm(dim=-1).mean().cpu()
        if keep_tokens:
            kept.append(response_TD.cpu())

    with reading(model, read), torch.inference_mode():
        run_blocks(model, torch.tensor([list(ids)], device=model.device))
    return Pooled(
        mean_PLD=mean_LPD.transpose(0, 1).contiguous().numpy(),
        norm_L=norm_L.numpy(),
        tokens_LTD=torch.stack(kept) if keep_tokens else None,
    )


@contextmanager
def reading(model: LanguageModel, read: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Call ``read(layer, hidden_BTD)`` with the output of every block; the hooks are gone afterwards."""

    def hook_for(layer: int) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            read(layer, residual_of(output))

        return hook

    handles = [block.register_forward_hook(hook_for(layer)) for layer, block in enumerate(model.blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_blocks(
    model: LanguageModel, ids_BT: Tensor, attention_BT: Tensor | None = None, cache: Cache | None = None
) -> Tensor:
    """Run the model up to its final norm, without the vocabulary projection; the normed output (B, T, D).

    With ``cache``, ``ids_BT`` go on after what it holds, and ``attention_BT`` covers both.
    """
    attention = torch.ones_like(ids_BT) if attention_BT is None else attention_BT
    output: Tensor = model.decoder(
        input_ids=ids_BT, attention_mask=attention, past_key_values=cache, use_cache=cache is not None
    ).last_hidden_state
    return output
