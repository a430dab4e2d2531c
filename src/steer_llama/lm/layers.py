"""Where a model keeps its decoder blocks. Layer L is the output of block L, 0-based."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from steer_llama.errors import LayerError, ModelError

# Attribute paths below the causal-LM object, by how many architectures use them.
_BLOCK_PATHS = (
    "model.layers",  # Llama, Mistral, Qwen, Gemma, Phi-3, OLMo, Mixtral …
    "model.language_model.layers",  # Gemma 3, Llama 4 and others with a vision tower
    "language_model.model.layers",
    "transformer.h",  # GPT-2, GPT-J, Falcon
    "gpt_neox.layers",  # GPT-NeoX, Pythia
    "transformer.blocks",  # MPT
    "model.decoder.layers",  # OPT
)


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks in order.

    Raises:
        ModelError: none of the known places holds them.
    """
    for path in _BLOCK_PATHS:
        found: Any = model
        for name in path.split("."):
            found = getattr(found, name, None)
        if isinstance(found, nn.ModuleList) and len(found) > 0:
            return found
    raise ModelError(
        f"{type(model).__name__}: no decoder blocks found (looked at {', '.join(_BLOCK_PATHS)}). "
        "Only decoder-only transformers can be steered."
    )


def check_layers(layers: Sequence[int], n_layers: int, what: str) -> None:
    """Refuse layers that do not exist.

    Raises:
        LayerError: naming the first one and the range.
    """
    for layer in layers:
        if not 0 <= layer < n_layers:
            raise LayerError(f"there is no layer {layer}: {what} has {n_layers} layers, 0 to {n_layers - 1}.")


def residual_of(output: Any) -> Tensor:
    """The residual stream in a block's output, which older transformers classes wrap in a tuple."""
    return output[0] if isinstance(output, tuple) else output


def with_residual(output: Any, hidden_BTD: Tensor) -> Any:
    """A block's output with its residual stream replaced."""
    return (hidden_BTD, *output[1:]) if isinstance(output, tuple) else hidden_BTD
