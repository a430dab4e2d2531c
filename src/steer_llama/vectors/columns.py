"""A vector's evidence, layer by layer, whatever wrote it: nothing is expected, and what does not fit is left over.

Shapes: L layers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.vector import SteeringVector

_PARTS = ("mean", "low", "high")


@dataclass(frozen=True)
class Column:
    """One number per layer, in the order of the vector's layers; ``None`` where there is none."""

    value: tuple[float | None, ...] | None
    """``None`` where only an interval is known."""
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None
    """The 95% interval."""


def norm_column(vector: SteeringVector) -> Column:
    """‖direction‖, from the vector itself."""
    return Column(tuple(float(norm) for norm in _norms_L(vector)))


def relative_norm_column(vector: SteeringVector) -> Column | None:
    """‖direction‖ over the residual's mean norm; ``None`` where that is not known."""
    if vector.residual_norm_L is None:
        return None
    return Column(tuple(float(share) for share in _norms_L(vector) / vector.residual_norm_L.astype(np.float64)))


def evidence_columns(vector: SteeringVector) -> dict[str, Column]:
    """What of the evidence is numbers per layer: lists, or objects of the lists ``mean``, ``low`` and ``high``."""
    evidence = vector.evidence
    given = evidence.get("layers")
    rows = given if _is_layers(given) else list(vector.layers)
    found = {key: _column(value, rows, vector.layers) for key, value in evidence.items() if key != "layers"}
    return {key: column for key, column in found.items() if column is not None}


def _norms_L(vector: SteeringVector) -> npt.NDArray[np.float64]:
    norms_L: npt.NDArray[np.float64] = np.linalg.norm(vector.directions_LD.astype(np.float64), axis=1)
    return norms_L


def _is_layers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(layer) is int for layer in value) and len(set(value)) == len(value)


def _column(value: Any, rows: list[int], layers: tuple[int, ...]) -> Column | None:
    if isinstance(value, list):
        numbers = _numbers(value, rows, layers)
        return None if numbers is None else Column(numbers)
    if not isinstance(value, Mapping) or not value or not value.keys() <= set(_PARTS):
        return None
    parts = {key: _numbers(part, rows, layers) for key, part in value.items()}
    if None in parts.values():
        return None
    return Column(parts.get("mean"), parts.get("low"), parts.get("high"))


def _numbers(value: Any, rows: list[int], layers: tuple[int, ...]) -> tuple[float | None, ...] | None:
    if not isinstance(value, list) or len(value) != len(rows):
        return None
    if not all(entry is None or (isinstance(entry, int | float) and not isinstance(entry, bool)) for entry in value):
        return None
    at = {layer: _finite(entry) for layer, entry in zip(rows, value, strict=True)}
    chosen = tuple(at.get(layer) for layer in layers)
    return None if all(entry is None for entry in chosen) else chosen


def _finite(entry: float | None) -> float | None:
    try:
        return float(entry) if entry is not None and math.isfinite(entry) else None
    except OverflowError:  # an integer of hundreds of digits
        return None
