"""Telling one model's weights and tokenizer from another's, without reading all of a 70B model."""

import hashlib
import json
from pathlib import Path
from typing import Any

_HEAD_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 12
_BLOCKS = 256
"""Spread evenly over every weight file: a fine-tuning that changed one kind of matrix only is seen too."""

_SAYS_NOTHING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


_MODEL_FILES = (".safetensors", ".bin", ".gguf", ".json", ".jinja", ".model")


def fingerprint(path: Path | str, model: Any, tokenizer: Any) -> str:
    """SHA-256 (hex) of the configuration, the chat template and a sample of every weight file.

    The same files give the same one wherever they lie and whatever read them; a hub model is known by its commit.
    """
    digest = hashlib.sha256()
    digest.update(str(tokenizer.chat_template).encode())
    digest.update(str(len(tokenizer)).encode())
    if isinstance(path, Path):
        if path.is_dir():
            # The file and not `model.config`, to which every version of transformers adds its own defaults.
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            told = {key: value for key, value in config.items() if key not in _SAYS_NOTHING}
            digest.update(json.dumps(told, sort_keys=True).encode())
        for file in _weight_files(path):
            _update_with_sample(digest, file)
    else:
        digest.update(str(getattr(model.config, "_commit_hash", None) or path).encode())
    return digest.hexdigest()


def state_of(path: Path) -> str:
    """SHA-256 (hex) of the files of a model's folder, or of one file, without loading anything.

    Tells weights from others that took their place; `fingerprint` is stricter about what does not matter.
    """
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        if file.is_file() and file.suffix in _MODEL_FILES:
            digest.update(file.name.encode())
            _update_with_sample(digest, file)
    return digest.hexdigest()


def _weight_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))


def _update_with_sample(digest: Any, file: Path) -> None:
    size = file.stat().st_size
    digest.update(str(size).encode())
    with file.open("rb") as stream:
        digest.update(stream.read(_HEAD_BYTES))
        for block in range(1, _BLOCKS + 1):
            stream.seek(max(0, size * block // _BLOCKS - _BLOCK_BYTES))
            digest.update(stream.read(_BLOCK_BYTES))
