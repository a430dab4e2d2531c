"""``vector.safetensors``: our own format (docs/formats.md)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from steer_llama.errors import FileError, LayerError, VectorError
from steer_llama.files import atomic_path
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.vector import SteeringVector

_MARK = "steer-llama vector 1"
LAYER_CONVENTION = "blocks.L.hook_resid_post (0-based block L, at its output)"
_TENSORS = ("directions", "layers")
_RESIDUAL_NORM = "residual_norm"
_FLOATS = ("float32", "float16")
UNREADABLE = (SafetensorError, OSError, TypeError, ValueError, LookupError)
"""What the safetensors library raises over files that it cannot read."""


def write_vector(path: Path, vector: SteeringVector) -> None:
    """Write a vector, whole or not at all.

    Raises:
        StorageError: the place cannot be written.
    """
    tensors: dict[str, np.ndarray] = {
        "directions": np.ascontiguousarray(vector.directions_LD, dtype=np.float32),
        "layers": np.asarray(vector.layers, dtype=np.int64),
    }
    if vector.residual_norm_L is not None:
        tensors[_RESIDUAL_NORM] = np.ascontiguousarray(vector.residual_norm_L, dtype=np.float32)
    metadata = {
        "format": _MARK,
        "layer_convention": LAYER_CONVENTION,
        "model": vector.model,
        "model_fingerprint": vector.model_fingerprint,
        "trait": vector.trait,
        "estimator": vector.estimator,
        "positions": vector.positions,
        "dtype": vector.dtype,
        "revision": vector.revision,
        "model_type": vector.model_type,
        "recommended_layer": "" if vector.recommended_layer is None else str(vector.recommended_layer),
        "recommended_strength": "" if vector.recommended_strength is None else repr(vector.recommended_strength),
        "evidence": json.dumps(vector.evidence, ensure_ascii=False, sort_keys=True),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(_in_order(save(tensors, metadata=metadata)))


def _in_order(content: bytes) -> bytes:
    """The same safetensors with its header sorted: the library shuffles it, and one vector should be one file."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def read_vector(path: Path) -> SteeringVector:
    """Read a vector.

    Raises:
        FileError: missing, no safetensors file, or not one of ours.
        VectorError: its content is no vector (shapes, NaN).
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file (expected a vector, as `steer-llama fit` writes it).")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            held = set(file.keys())
            missing = sorted(set(_TENSORS) - held)
            if not metadata.get("format", "").startswith("steer-llama vector") or missing:
                found = ", ".join(sorted(held)[:5]) or "nothing"
                raise FileError(f"{path}: safetensors, but not a steer-llama vector (it holds {found}).")
            tensors = {name: file.get_tensor(name) for name in held & {*_TENSORS, _RESIDUAL_NORM}}
    except UNREADABLE as error:
        raise FileError(f"{path}: not a safetensors file, or a damaged one ({error}).") from error
    if metadata["format"] != _MARK:
        raise FileError(f"{path}: is {metadata['format']!r}; this program reads {_MARK!r}.")
    try:
        return _vector(tensors, metadata)
    except (VectorError, LayerError, ValueError, RecursionError) as error:
        raise VectorError(f"{path}: {error}") from error


def _vector(tensors: dict[str, Any], metadata: dict[str, str]) -> SteeringVector:
    for name, expected, n_axes in (
        ("directions", _FLOATS, 2),
        ("layers", ("int64",), 1),
        (_RESIDUAL_NORM, _FLOATS, 1),
    ):
        found = tensors.get(name)
        if found is None:
            continue
        if str(found.dtype) not in expected or found.ndim != n_axes:
            wanted = f"{' or '.join(expected)} with {n_axes} axes"
            raise VectorError(f"{name!r} is {found.dtype} of shape {found.shape}; expected {wanted}.")
    evidence = json.loads(metadata.get("evidence") or "{}")
    if not isinstance(evidence, dict):
        raise VectorError(f"'evidence' is a JSON {type(evidence).__name__}; expected an object.")
    norms = tensors.get(_RESIDUAL_NORM)
    layer, strength = metadata.get("recommended_layer"), metadata.get("recommended_strength")
    return SteeringVector(
        directions_LD=tensors["directions"].astype(np.float32, copy=False),
        layers=tuple(int(value) for value in tensors["layers"]),
        residual_norm_L=None if norms is None else norms.astype(np.float32, copy=False),
        model=metadata.get("model", ""),
        model_fingerprint=metadata.get("model_fingerprint", ""),
        trait=metadata.get("trait", ""),
        estimator=metadata.get("estimator", ""),
        positions=metadata.get("positions", ""),
        dtype=metadata.get("dtype", ""),
        revision=metadata.get("revision", ""),
        model_type=metadata.get("model_type", ""),
        recommended_layer=int(layer) if layer else None,
        recommended_strength=float(strength) if strength else None,
        evidence=evidence,
    )


def _recognises(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy") as file:
            return str((file.metadata() or {}).get("format", "")).startswith("steer-llama vector")
    except UNREADABLE:
        return False


def _read(path: Path) -> Reading:
    return Reading(read_vector(path), FORMAT.name)


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    write_vector(path, vector)
    return ()


FORMAT = VectorFormat(
    name="steer-llama",
    title="steer-llama's own (safetensors)",
    suffix=".safetensors",
    layer_convention="row i is the block that `layers` names at i, at its output",
    recognises=_recognises,
    read=_read,
    write=_write,
)
