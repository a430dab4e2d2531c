"""Where a model's configuration comes from: the packaged ones, a folder, a file, or a hub."""

import difflib
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from steer_llama.errors import ModelError
from steer_llama.lm import embedded
from steer_llama.lm.sizing.shape import ModelShape, shape_of
from steer_llama.lm.weights import LOADING_ERRORS
from steer_llama.packaged import model_config_path, packaged_models
from steer_llama.progress import Reporter

_EMBEDDED_SHAPE = "smollm2-135m"


def read_shape(where: str) -> ModelShape:
    """The shape of a packaged model, a folder, a config.json, a GGUF file, or a hub id (its config.json is fetched).

    Raises:
        ModelError: no configuration is there, or transformers does not know what it describes.
    """
    # A folder of that name is what `extract` would read, so it comes first.
    path = Path(where).expanduser()
    packaged = (
        None if path.exists() else model_config_path(_EMBEDDED_SHAPE if where == embedded.NAME else where.lower())
    )
    if packaged is not None:
        return shape_of(_read(packaged, where), where)
    if path.is_dir() and not (path / "config.json").is_file():
        raise ModelError(f"{where}: holds no config.json. Name the folder that the model's files lie in.")
    if path.exists():
        return shape_of(_read(path, where), path.resolve().stem if path.is_file() else path.resolve().name)
    if where.startswith((".", "/", "~")) or where.endswith((".json", ".gguf")) or where.count("/") != 1:
        raise ModelError(f"{where}: no such folder, file or packaged model.{_instead(where)}")
    return shape_of(_read(where, where), where)


def tokenizer_of(where: str, reporter: Reporter) -> Any | None:
    """The tokenizer, where it is on this machine; ``None`` where only the configuration is.

    Raises:
        ModelError: the folder's tokenizer cannot be read.
    """
    path = Path(where).expanduser()
    if where == embedded.NAME and not path.exists():
        path = embedded.embedded_folder(reporter)
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return None
    try:
        return AutoTokenizer.from_pretrained(path)
    except LOADING_ERRORS as error:
        raise ModelError(f"{where}: its tokenizer cannot be loaded: {' '.join(str(error).split())}") from error


def _read(path: Path | str, where: str) -> Any:
    try:
        if isinstance(path, Path) and path.suffix == ".gguf":
            return AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
        return AutoConfig.from_pretrained(path)
    except LOADING_ERRORS as error:
        told = " ".join(str(error).split())
        if isinstance(path, Path):
            raise ModelError(f"{where}: its configuration cannot be read: {told}") from error
        raise ModelError(
            f"{where}: its config.json cannot be fetched from the hub ({told.split('. ')[0]}).{_instead(where)}"
        ) from error


def _instead(where: str) -> str:
    names = packaged_models()
    near = difflib.get_close_matches(where.rpartition("/")[2].lower(), names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{hint} Packaged, with no network: {', '.join(names)}. Or give a folder or a config.json."
