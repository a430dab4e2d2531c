"""Reading the residual stream while the model runs.

Shapes: B batch, T tokens, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from steer_llama.lm.layers import residual_of
from steer_llama.lm.load import LanguageModel


class _Enough(Exception):  # noqa: N818 - no error: the way out of a forward pass
    """The deepest layer that is wanted has been read."""


@contextmanager
def reading(
    model: LanguageModel, read: Callable[[int, Tensor], None], layers: Sequence[int] | None = None
) -> Iterator[None]:
    """Call ``read(layer, hidden_BTD)`` with the output of every block, or of ``layers``.

    A forward pass inside ends after the deepest of them, and the context with it. The hooks are gone afterwards.
    """
    wanted = range(model.n_layers) if layers is None else layers
    deepest = max(wanted, default=-1)

    def hook_for(layer: int) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            read(layer, residual_of(output))
            if layer == deepest < model.n_layers - 1:
                raise _Enough

        return hook

    handles = [model.blocks[layer].register_forward_hook(hook_for(layer)) for layer in wanted]
    try:
        yield
    except _Enough:
        pass
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
