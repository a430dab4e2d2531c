"""The folder that a model is baked from, found without loading its weights."""

import functools
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoTokenizer

from steer_llama.errors import ModelError
from steer_llama.lm.fingerprint import fingerprint
from steer_llama.lm.load import find_model
from steer_llama.lm.weights import LOADING_ERRORS
from steer_llama.progress import Reporter

_NOT_FETCHED = [
    "*.bin",
    "*.pt",
    "*.pth",
    "*.gguf",
    "*.h5",
    "*.msgpack",
    "*.onnx*",
    "*.ot",
    "consolidated*",
    "original/*",
]


@dataclass(frozen=True)
class Source:
    """A model's files."""

    name: str
    """What the user calls it: ``smollm2``, a hub id, or the folder's name."""
    folder: Path
    hub_id: str | None
    """Where it came from a hub."""

    @functools.cached_property
    def fingerprint(self) -> str:
        """The same as `lm.load.LanguageModel.fingerprint` of the loaded model.

        Raises:
            ModelError: the tokenizer or the configuration cannot be read.
        """
        where: Path | str = self.hub_id or self.folder
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
            told: Any = SimpleNamespace(config=AutoConfig.from_pretrained(where))
        except LOADING_ERRORS as error:
            raise ModelError(f"{self.name}: its tokenizer cannot be loaded: {' '.join(str(error).split())}") from error
        return fingerprint(where, told, tokenizer)


def find_source(where: str, reporter: Reporter) -> Source:
    """The folder of a model; a hub's is downloaded first (safetensors weights only), where it is not yet.

    Raises:
        ModelError: it cannot be found or fetched.
    """
    name, found = find_model(where, reporter)
    if isinstance(found, Path):
        return Source(name, found, None)
    reporter.note(f"fetching {where} from the hub, where it is not in the cache already")
    try:
        return Source(name, Path(snapshot_download(where, ignore_patterns=_NOT_FETCHED)), where)
    except (OSError, ValueError, httpx2.HTTPError) as error:
        told = " ".join(str(error).split())
        raise ModelError(f"{where}: cannot be fetched from the hub: {told}") from error
