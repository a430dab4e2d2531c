"""What a combined vector says of itself: its parts with their proof, how they lie to each other, what is left of each.

Shapes: L layers, D width.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from steer_llama.errors import VectorError
from steer_llama.vectors.evidence import cosines as row_cosines
from steer_llama.vectors.origin import Origin

if TYPE_CHECKING:
    from steer_llama.vectors.vector import SteeringVector

Floats = npt.NDArray[np.float64]

ESTIMATOR = "combination"
"""What stands as the estimator of a combined vector."""


def combined(
    like: "SteeringVector", directions_LD: Floats, origin: Origin, layers: tuple[int, ...] | None = None
) -> "SteeringVector":
    """A vector of these directions with its evidence, and without a recommendation.

    Args:
        like: an operand; the result has its layers.
        directions_LD: what came of it.
        origin: the expression.
        layers: the rows' layers, where they are fewer than the operand's.

    Raises:
        VectorError: numbers that float32 cannot hold.
    """
    layers = layers or like.layers
    with np.errstate(over="ignore"):
        rounded_LD = directions_LD.astype(np.float32)
    if not np.isfinite(rounded_LD).all():
        raise VectorError(f"{origin.expression}: its numbers are too large for float32.")
    norms_L = _mean_residual_norm_L(origin, layers)
    return replace(
        like,
        directions_LD=rounded_LD,
        layers=layers,
        residual_norm_L=norms_L,
        trait=origin.expression,
        estimator=ESTIMATOR,
        recommended_layer=None,
        recommended_strength=None,
        evidence=_evidence(origin, rounded_LD, layers, norms_L),
        origin=origin,
        **_shared(origin),
    )


def _evidence(
    origin: Origin, directions_LD: npt.NDArray[np.float32], layers: Sequence[int], residual_norm_L: Any
) -> dict[str, Any]:
    """The evidence of a combined vector (docs/formats.md)."""
    parts = {name: rows_LD(vector, layers) for name, vector in origin.parents.items()}
    result_LD = directions_LD.astype(np.float64)
    evidence: dict[str, Any] = {
        "layers": list(layers),
        "norm": _numbers(np.linalg.norm(result_LD, axis=1)),
        "combination": {
            "expression": origin.expression,
            "units": origin.units,
            "parents": {name: _facts(vector) for name, vector in origin.parents.items()},
            "cosines": [
                {"between": [one, other], "cosine": _numbers(row_cosines(parts[one], parts[other]))}
                for one, other in combinations(parts, 2)
            ],
            "kept": {name: _kept(result_LD, part_LD) for name, part_LD in parts.items()},
            "notes": list(origin.notes),
        },
        "steer_llama": version("steer-llama"),
    }
    if residual_norm_L is not None:
        evidence["residual_norm"] = _numbers(residual_norm_L)
    return evidence


def _shared(origin: Origin) -> dict[str, str]:
    """Of which model it is, and what its parts have in common (all of it, where they differ)."""
    parents = list(origin.parents.values())
    known = [vector for vector in parents if vector.model_fingerprint] or [v for v in parents if v.model] or parents
    return {
        "model": known[0].model,
        "model_fingerprint": known[0].model_fingerprint,
        "revision": known[0].revision,
        "model_type": known[0].model_type,
        "positions": _all(vector.positions for vector in parents),
        "dtype": _all(vector.dtype for vector in parents),
    }


def _mean_residual_norm_L(origin: Origin, layers: Sequence[int]) -> npt.NDArray[np.float32] | None:
    """The mean of the parts' residual norms; ``None`` where one of them does not know it."""
    norms = [
        vector.residual_norm_L[[vector.layers.index(layer) for layer in layers]]
        for vector in origin.parents.values()
        if vector.residual_norm_L is not None
    ]
    if len(norms) < len(origin.parents):
        return None
    mean_L: npt.NDArray[np.float32] = np.stack(norms).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean_L


def rows_LD(vector: "SteeringVector", layers: Sequence[int]) -> Floats:
    """Its directions at these layers, which it has, in float64."""
    return vector.directions_LD[[vector.layers.index(layer) for layer in layers]].astype(np.float64)


def _facts(vector: "SteeringVector") -> dict[str, Any]:
    return {
        "trait": vector.trait,
        "estimator": vector.estimator,
        "positions": vector.positions,
        "dtype": vector.dtype,
        "model": vector.model,
        "model_fingerprint": vector.model_fingerprint,
        "pairs": vector.evidence.get("pairs"),
        "data_fingerprint": vector.evidence.get("data_fingerprint"),
        "recommended_layer": vector.recommended_layer,
        "recommended_strength": vector.recommended_strength,
        "evidence": vector.evidence,
    }


def _kept(result_LD: Floats, part_LD: Floats) -> list[float | None]:
    """How far the result goes along a part, over the part's own length; ``None`` where that is zero."""
    lengths_L = (part_LD**2).sum(axis=1)
    along_L = (result_LD * part_LD).sum(axis=1)
    return [along / length if length > 0 else None for along, length in zip(_numbers(along_L), lengths_L, strict=True)]


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values]


def _all(values: Any) -> str:
    return " / ".join(dict.fromkeys(value for value in values if value))
