"""Reading weights through transformers, and refusing the half of a model."""

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from steer_llama.errors import ModelError

LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    ImportError,
    SafetensorError,
    StrictDataclassError,
)
"""What transformers raises over weights, a tokenizer or a configuration that it cannot read."""


def read_weights(path: Path | str, **how: Any) -> Any:
    """The transformers model; ``how`` as ``from_pretrained`` takes it.

    Raises:
        ModelError: tensors are missing, which transformers would fill with random numbers.
    """
    model, found = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True, **how)
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"{path}: {len(missing)} tensors are missing from the weights, the first is {missing[0]}. "
            "Get the weights again, or a config.json that fits them."
        )
    return model
