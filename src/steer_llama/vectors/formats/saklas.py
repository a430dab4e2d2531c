"""saklas' profile: safetensors with ``layer_{i}``, and a JSON of the same name beside it (saklas 5.3.0, format 6).

Its layer i is hooked at the output of decoder layer i (``core/hooks.py``): our L = i.

Shapes: L layers, D width.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from steer_llama.errors import ConfigError, FileError, InputError, LayerError, StorageError, VectorError
from steer_llama.files import atomic_path, digest_file, read_json, write_json
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.known import KEY, known, vector_of
from steer_llama.vectors.formats.native import UNREADABLE
from steer_llama.vectors.vector import SteeringVector

_FORMAT_VERSION, _SAKLAS_VERSION = 6, "5.3.0"
"""saklas reads files of its own format version only; the version of saklas may be any."""
_SIDECAR = frozenset({"format_version", "saklas_version", "method", "tensor_sha256", "provenance"})
_LAYER = re.compile(r"layer_(0|[1-9][0-9]{0,9})")
_WHAT = "saklas' JSON beside its safetensors"
_BAKED = (
    "saklas keeps its weight of each layer in the direction's norm: the norms are shares between layers, not residual "
    "units, so compare layers with care."
)


def _recognises(path: Path) -> bool:
    """A bare ``layer_{i}`` could be anybody's: the file beside it tells."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
        return bool(names) and all(_LAYER.fullmatch(name) for name in names) and _is_sidecar(_sidecar_of(path))
    except UNREADABLE:
        return False


def _is_sidecar(path: Path) -> bool:
    try:
        value = read_json(path, _WHAT)
    except InputError:
        return False
    return isinstance(value, dict) and {"saklas_version", "tensor_sha256"} <= set(value)


def _sidecar_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _read(path: Path) -> Reading:
    sidecar = _sidecar_of(path)
    notes = [_BAKED]
    provenance: dict[str, Any] = {}
    if sidecar == path or not sidecar.is_file():
        notes.append(f"{sidecar.name} is not beside it, so the file could not be checked, and saklas would refuse it.")
    else:
        provenance = _provenance(path, sidecar)
    directions = _directions(path)
    layers = sorted(directions)
    facts, model = provenance.get(KEY), provenance.get("model_id", "")
    told = {"estimator": str(provenance.get("method", "")), "model": model if isinstance(model, str) else ""}
    try:
        vector = vector_of(np.stack([directions[layer] for layer in layers]), layers, facts, **told)
    except (VectorError, LayerError) as error:
        raise VectorError(f"{path}: {error}") from error
    return Reading(vector, FORMAT.name, tuple(notes) if facts is None else tuple(notes[1:]))


def _provenance(path: Path, sidecar: Path) -> dict[str, Any]:
    value = read_json(sidecar, _WHAT)
    if not isinstance(value, dict) or not set(value) >= _SIDECAR or not isinstance(value["provenance"], dict):
        raise FileError(f"{sidecar}: expected {_WHAT}, an object with {', '.join(sorted(_SIDECAR))}.")
    if value["format_version"] != _FORMAT_VERSION:
        found = value["format_version"]
        raise FileError(f"{sidecar}: of saklas' format {found!r}; this program reads {_FORMAT_VERSION}.")
    try:
        digest = digest_file(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from error
    if digest != value["tensor_sha256"]:
        raise FileError(f"{path}: is not the file that {sidecar.name} is for (its SHA-256 is another), or is damaged.")
    return {"method": value["method"]} | value["provenance"]


def _directions(path: Path) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                numbered = _LAYER.fullmatch(name)
                if numbered is None:
                    raise FileError(f"{path}: has a tensor {name[:50]!r}; expected layer_0, layer_1 … alone.")
                found[int(numbered[1])] = file.get_tensor(name)
    except UNREADABLE as error:
        raise FileError(f"{path}: not a safetensors file, or a damaged one ({error}).") from error
    if not found:
        raise FileError(f"{path}: holds no layer.")
    shapes = {(str(row.dtype), row.shape) for row in found.values()}
    dtype, shape = next(iter(shapes))
    if len(shapes) != 1 or dtype != "float32" or len(shape) != 1:
        shown = ", ".join(f"{kind} {size}" for kind, size in sorted(shapes)[:3])
        raise VectorError(f"{path}: its layers are {shown}; expected float32 of one width.")
    return found


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    sidecar = _sidecar_of(path)
    if path.suffix != FORMAT.suffix:
        raise ConfigError(f"{path}: saklas finds the JSON beside it only if its name ends in {FORMAT.suffix}.")
    if sidecar.exists() and not _is_sidecar(sidecar):
        raise StorageError(f"cannot write {sidecar}: a file of that name is in the way, and is not saklas'.")
    tensors = {
        f"layer_{layer}": np.ascontiguousarray(row, dtype=np.float32)
        for layer, row in zip(vector.layers, vector.directions_LD, strict=True)
    }
    content = save(tensors)
    beside = {
        "format_version": _FORMAT_VERSION,
        "saklas_version": _SAKLAS_VERSION,
        "method": "profile",
        "tensor_sha256": hashlib.sha256(content).hexdigest(),
        "provenance": {KEY: known(vector)},
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
        write_json(
            sidecar, beside
        )  # a crash between the two leaves files whose digest does not fit, not a wrong vector
    return (
        f"saklas needs {sidecar.name} beside it.",
        "saklas takes the norms for its weights of the layers and has a scale of its own: strengths and coefficients "
        "do not carry over to it.",
    )


FORMAT = VectorFormat(
    name="saklas",
    title="saklas (safetensors and a JSON beside it)",
    suffix=".safetensors",
    layer_convention="layer_{i} is block i, at its output: the same number as here",
    recognises=_recognises,
    read=_read,
    write=_write,
)
