"""``easysteer``: EasySteer's control vectors (https://github.com/ZJU-REAL/EasySteer), GGUF with what it knows besides.

Its releases before 2026 keep that in values of their own (``controlvector.normalize`` …); later ones in a JSON text,
``controlvector.easysteer``, which also says what the directions are added to. Both are written.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from steer_llama.errors import FileError, VectorError
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.control_vector import (
    LAYER_CONVENTION,
    MODEL_HINT,
    UNKNOWN,
    read_control_vector,
    write_control_vector,
)
from steer_llama.vectors.formats.gguf_facts import text_of
from steer_llama.vectors.formats.gguf_header import Header, is_gguf, read_header
from steer_llama.vectors.vector import SteeringVector

_PREFIX = "controlvector."
_METHOD = f"{_PREFIX}method"
_NATIVE = f"{_PREFIX}easysteer"
_RESIDUAL_STREAM = "hidden_states"
_METHODS = {"mean_diff": "diffmean"}
"""Our estimators that EasySteer has too, in its words."""


def _recognises(path: Path) -> bool:
    if not is_gguf(path):
        return False
    try:
        values = read_header(path).values
    except FileError:
        return False
    return _METHOD in values or _NATIVE in values


def _read(path: Path) -> Reading:
    header = read_header(path)
    try:
        native = _native(header)
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from error
    vector, notes = read_control_vector(path, header, lambda theirs: _facts(theirs, native))
    return Reading(vector, FORMAT.name, notes)


def _native(header: Header) -> dict[str, Any]:
    """What the JSON text says; empty where there is none.

    Raises:
        VectorError: it is damaged, or the directions are not for the residual stream.
    """
    text = header.values.get(_NATIVE)
    if text is None:
        return {}
    try:
        native = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        native = None
    if not isinstance(native, dict) or native.get("version") != 1:
        raise VectorError(f"{_NATIVE} is {str(text)[:60]!r}; expected a JSON object of version 1.")
    component = native.get("component")
    if component not in (None, _RESIDUAL_STREAM):
        raise VectorError(
            f"its directions are for {component!r} and not for the residual stream ({_RESIDUAL_STREAM!r}), to which a "
            "vector is added here."
        )
    return native


def _facts(header: Header, native: dict[str, Any]) -> dict[str, Any]:
    """What a file of EasySteer's own says."""
    told = {"method", "model_hint", "layer_count", "easysteer"}
    short = {key.removeprefix(_PREFIX): value for key, value in header.values.items() if key.startswith(_PREFIX)}
    theirs: dict[str, Any] = {key: value for key, value in short.items() if key not in told}
    if "metadata" in native:
        theirs["metadata"] = native["metadata"]
    method, hint = text_of(header, _METHOD), text_of(header, MODEL_HINT)
    facts: dict[str, Any] = {"estimator": "" if method == UNKNOWN else method}
    # Where repeng has an architecture, EasySteer may have a model's name; those of architectures are plain.
    if hint != hint.lower() or "/" in hint:
        facts |= {"model": hint, "model_type": ""}
    return facts | ({"evidence": {"easysteer": theirs}} if theirs else {})


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    method = _METHODS.get(vector.estimator, vector.estimator) or UNKNOWN
    norms_L = np.linalg.norm(vector.directions_LD, axis=1)
    facts: dict[str, Any] = {"normalize": bool(np.allclose(norms_L, 1, atol=1e-4))}
    if vector.positions:
        facts["token_pos"] = vector.positions
    pairs = vector.evidence.get("pairs")
    if type(pairs) is int:
        facts |= {"n_positive": pairs, "n_negative": pairs}
    native = {"version": 1, "component": _RESIDUAL_STREAM, "metadata": {"mapping": list(facts.items())}}

    def extend(writer: gguf.GGUFWriter) -> None:
        writer.add_string(_METHOD, method)
        for key, value in facts.items():
            if isinstance(value, str):
                writer.add_string(f"{_PREFIX}{key}", value)
            else:
                writer.add_float32(f"{_PREFIX}{key}", float(value))
        writer.add_string(_NATIVE, json.dumps(native, ensure_ascii=False))

    notes = write_control_vector(path, vector, vector.layers, extend)
    if 0 in vector.layers:
        notes = (*notes, "the file holds layer 0, so llama.cpp refuses it; EasySteer takes it.")
    return notes


FORMAT = VectorFormat(
    name="easysteer",
    title="EasySteer's control vector",
    suffix=".gguf",
    layer_convention=LAYER_CONVENTION,
    recognises=_recognises,
    read=_read,
    write=_write,
)
