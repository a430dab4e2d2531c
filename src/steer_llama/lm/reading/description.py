"""What has to be known of a model that another process runs: its tokenizer, its shape, its fingerprint. No weights."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from steer_llama.errors import ModelError
from steer_llama.lm.fingerprint import fingerprint
from steer_llama.lm.load import Origin, find_model, origin_of
from steer_llama.lm.weights import LOADING_ERRORS
from steer_llama.progress import Reporter


@dataclass(frozen=True, eq=False)
class Description:
    """A model without its weights."""

    name: str
    path: Path | str
    """A folder or a hub id."""
    tokenizer: Any
    fingerprint: str
    origin: Origin
    n_layers: int
    width: int
    context_length: int | None
    own_dtype: str | None
    """The weights' type, e.g. ``bfloat16``, where the configuration says it."""


def describe(where: str, reporter: Reporter) -> Description:
    """Read what stands beside the weights.

    Raises:
        ModelError: no such model, a GGUF file, or a tokenizer or a configuration that cannot be read.
    """
    name, path = find_model(where, reporter)
    if isinstance(path, Path) and path.is_file():
        raise ModelError(
            f"{where}: a GGUF file is not read through vLLM. "
            "Use --backend transformers, or name a folder with safetensors."
        )
    try:
        tokenizer, config = AutoTokenizer.from_pretrained(path), AutoConfig.from_pretrained(path)
        text = config.get_text_config()
        context = getattr(text, "max_position_embeddings", None)
        dtype = getattr(text, "dtype", None) or getattr(config, "dtype", None)
        return Description(
            name=name,
            path=path,
            tokenizer=tokenizer,
            fingerprint=fingerprint(path, SimpleNamespace(config=config), tokenizer),
            origin=origin_of(config),
            n_layers=int(text.num_hidden_layers),
            width=int(text.hidden_size),
            context_length=int(context) if context else None,
            own_dtype=str(dtype).removeprefix("torch.") if dtype else None,
        )
    except (*LOADING_ERRORS, AttributeError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{where}: its tokenizer or its configuration cannot be read: {told}") from error
