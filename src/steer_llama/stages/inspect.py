"""``inspect``: what a vector's file holds, of whatever format, and how several vectors lie to each other.

Shapes: K vectors, L layers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from steer_llama.errors import AmbiguousFormatError, VectorError
from steer_llama.stages.vector_files import read_any
from steer_llama.vectors import FORMATS, Reading, SteeringVector, VectorFormat, cosines
from steer_llama.vectors.algebra import named
from steer_llama.vectors.columns import Column, evidence_columns, norm_column, relative_norm_column
from steer_llama.vectors.combination import rows_LD

_DEPTH = 200
"""Of evidence within evidence, as combinations of combinations have it."""


@dataclass(frozen=True)
class Inspected:
    """A vector's file, read."""

    path: Path
    form: VectorFormat
    vector: SteeringVector
    notes: tuple[str, ...]
    """What reading it lost or assumed: a sentence each."""
    norm: Column
    relative_norm: Column | None
    columns: Mapping[str, Column]
    """Evidence per layer, by its key."""
    facts: Mapping[str, Any]
    """The rest of the evidence, by its key."""


@dataclass(frozen=True)
class Cosines:
    """How several vectors of one model lie to each other."""

    layers: tuple[int, ...]
    """Those that all of them have."""
    by_layer_LKK: Sequence[Sequence[Sequence[float]]]
    layer: int | None
    """One that is recommended."""


def inspect(path: Path, form: str | None = None) -> list[Inspected]:
    """Read a vector's file of any format; where it does not tell its format, as each of those reads it.

    Raises:
        FileError: missing, damaged, or no vector.
        ConfigError: there is no format of that name.
        VectorError: its content is no vector.
    """
    try:
        return [_inspected(path, read_any(path, form))]
    except AmbiguousFormatError as error:
        candidates = error.candidates
    told = f"the file does not tell whether it is of {' or '.join(candidates)}; settle it with --format. Shown as "
    return [_inspected(path, read_any(path, name), f"{told}{name}.") for name in candidates]


def _inspected(path: Path, reading: Reading, *notes: str) -> Inspected:
    vector = reading.vector
    columns = evidence_columns(vector)
    facts = {key: value for key, value in vector.evidence.items() if key not in columns and key != "layers"}
    for own in ("norm", "relative_norm", "residual_norm"):  # measured here, from what steers
        columns.pop(own, None)
    return Inspected(
        path=path,
        form=FORMATS[reading.format],
        vector=vector,
        notes=(*notes, *reading.notes),
        norm=norm_column(vector),
        relative_norm=relative_norm_column(vector),
        columns=columns,
        facts=facts,
    )


def compare(inspected: Sequence[Inspected]) -> Cosines:
    """The cosines between vectors of one model, at the layers that all have.

    Raises:
        VectorError: they are of different models, or have no layer in common.
    """
    layers = sorted(set.intersection(*(set(one.vector.layers) for one in inspected)))
    if not layers:
        raise VectorError("they have no layer in common.")
    chosen = [_at(one, layers) for one in inspected]
    recommended = [one.vector.recommended_layer for one in inspected]
    layer = next((layer for layer in recommended if layer in layers), None)
    return Cosines(tuple(layers), cosines(chosen).tolist(), layer)


def as_json(inspected: Sequence[Inspected], between: Cosines | None, apart: str) -> dict[str, Any]:
    """All of it as JSON values; ``apart`` says why there are no cosines."""
    files = [_file(one) for one in inspected]
    matrices = between and {
        "files": [str(one.path) for one in inspected],
        "layers": between.layers,
        "recommended_layer": between.layer,
        "cosine": between.by_layer_LKK,
    }
    found: dict[str, Any] = _plain({"files": files, "cosines": matrices, "not_compared": apart or None})
    return found


def _file(one: Inspected) -> dict[str, Any]:
    vector = one.vector
    norms = vector.residual_norm_L
    return {
        "path": str(one.path),
        "format": one.form.name,
        "format_title": one.form.title,
        "layer_convention": one.form.layer_convention,
        "notes": one.notes,
        "model": vector.model,
        "model_fingerprint": vector.model_fingerprint,
        "revision": vector.revision,
        "model_type": vector.model_type,
        "dtype": vector.dtype,
        "trait": vector.trait,
        "estimator": vector.estimator,
        "positions": vector.positions,
        "width": vector.width,
        "recommended_layer": vector.recommended_layer,
        "recommended_strength": vector.recommended_strength,
        "layers": vector.layers,
        "norm": one.norm.value,
        "residual_norm": None if norms is None else norms.tolist(),
        "relative_norm": None if one.relative_norm is None else one.relative_norm.value,
        "columns": {key: asdict(column) for key, column in one.columns.items()},
        "facts": dict(one.facts),
    }


def _at(one: Inspected, layers: Sequence[int]) -> SteeringVector:
    part = replace(
        one.vector,
        directions_LD=rows_LD(one.vector, layers).astype(np.float32),
        layers=tuple(layers),
        residual_norm_L=None,
        recommended_layer=None,
    )
    return named(part, str(one.path))


def _plain(value: Any, depth: int = 0) -> Any:
    """JSON has neither NaN nor infinity nor half characters, though a file's evidence may."""
    if depth > _DEPTH:
        return "nested too deeply to be shown"
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, depth + 1) for part in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value
