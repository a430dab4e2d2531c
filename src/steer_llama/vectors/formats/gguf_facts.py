"""Our own record of a vector in a GGUF file, under keys (``steer_llama.*``) that other tools pass over."""

import json
from typing import Any

import gguf
import numpy as np

from steer_llama.errors import VectorError
from steer_llama.vectors.formats.gguf_header import Header, Value
from steer_llama.vectors.vector import Floats, SteeringVector

TEXTS = ("model", "model_fingerprint", "trait", "estimator", "positions", "dtype", "revision")
"""Fields of `SteeringVector`."""
_OURS = "steer_llama."
_VERSION = 1


def has_facts(header: Header) -> bool:
    """Whether steer-llama wrote the file."""
    return f"{_OURS}version" in header.values


def add_facts(writer: gguf.GGUFWriter, vector: SteeringVector, rows: dict[int, int], keeps_recommended: bool) -> None:
    """Add the record; ``rows`` says where the vector has each layer that the file holds, in the file's order."""
    writer.add_uint32(f"{_OURS}version", _VERSION)
    for name in TEXTS:
        writer.add_string(f"{_OURS}{name}", getattr(vector, name))
    writer.add_array(f"{_OURS}layers", list(rows))
    if vector.residual_norm_L is not None:
        norms_L = np.asarray(vector.residual_norm_L, np.float32)
        writer.add_array(f"{_OURS}residual_norm", [float(norms_L[row]) for row in rows.values()])
    if keeps_recommended and vector.recommended_layer is not None:
        writer.add_uint32(f"{_OURS}recommended_layer", vector.recommended_layer)
    if keeps_recommended and vector.recommended_strength is not None:
        writer.add_float64(f"{_OURS}recommended_strength", vector.recommended_strength)
    writer.add_string(f"{_OURS}evidence", json.dumps(vector.evidence, ensure_ascii=False, sort_keys=True))


def read_facts(header: Header, layers: tuple[int, ...]) -> dict[str, Any]:
    """The record as fields of `SteeringVector`; ``layers`` are those that the file holds.

    Raises:
        VectorError: it is damaged, or not of this file.
    """
    if (version := header.values[f"{_OURS}version"]) != _VERSION:
        raise VectorError(f"{_OURS}version is {version!r}; this program reads {_VERSION}.")
    stated = header.values.get(f"{_OURS}layers")
    if stated != layers:
        raise VectorError(f"{_OURS}layers does not name the layers that it holds: another tool has altered it.")
    facts: dict[str, Any] = {name: text_of(header, f"{_OURS}{name}") for name in TEXTS}
    norms = header.values.get(f"{_OURS}residual_norm")
    if norms is not None:
        facts["residual_norm_L"] = _norms(norms)
    facts["recommended_layer"] = _number(header, "recommended_layer", int)
    facts["recommended_strength"] = _number(header, "recommended_strength", float)
    try:
        evidence = json.loads(text_of(header, f"{_OURS}evidence") or "{}")
    except (ValueError, RecursionError) as error:
        raise VectorError(f"{_OURS}evidence is not JSON ({error}).") from error
    if not isinstance(evidence, dict):
        raise VectorError(f"{_OURS}evidence is a JSON {type(evidence).__name__}; expected an object.")
    return facts | {"evidence": evidence}


def _norms(value: Value) -> Floats:
    if not isinstance(value, tuple) or not all(isinstance(norm, float) for norm in value):
        raise VectorError(f"{_OURS}residual_norm is no array of floats.")
    # A float64 beyond float32 becomes infinity, which the vector refuses.
    with np.errstate(over="ignore"):
        return np.asarray(value, np.float32)


def _number(header: Header, name: str, kind: type) -> Any:
    value = header.values.get(f"{_OURS}{name}")
    if value is not None and type(value) is not kind:
        raise VectorError(f"{_OURS}{name} is {str(value)[:40]!r}; expected one {kind.__name__}.")
    return value


def text_of(header: Header, key: str) -> str:
    """A value that must be a text; empty where there is none.

    Raises:
        VectorError: it is something else.
    """
    value = header.values.get(key, "")
    if not isinstance(value, str):
        raise VectorError(f"{key} is {str(value)[:40]!r}; expected a text.")
    return value
