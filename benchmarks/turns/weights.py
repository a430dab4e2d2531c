"""The transformers model that most of the ways start from."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM


def load_weights(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The whole model, vocabulary projection included."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.eval().requires_grad_(requires_grad=False)
