"""Vectors of files that hold directions and nothing else."""

from collections.abc import Iterable, Mapping

import numpy as np

from steer_llama.errors import VectorError
from steer_llama.vectors.vector import Floats, SteeringVector

_MAX_LAYERS = 1 << 12


def check_layers(source: object, layers: Iterable[int]) -> None:
    """Refuse layer numbers that no model has, and for which a file may become absurdly long.

    Raises:
        VectorError: a layer below 0 or above 4095.
    """
    if absurd := [layer for layer in layers if not 0 <= layer < _MAX_LAYERS]:
        raise VectorError(f"{source}: a layer {absurd[0]}; expected 0 to {_MAX_LAYERS - 1}.")


def bare_vector(source: object, rows: Mapping[int, Floats]) -> SteeringVector:
    """A vector of which only the directions are known.

    Args:
        source: what errors begin with, e.g. the file.
        rows: each layer's direction, of shape (width,).

    Raises:
        VectorError: no rows, absurd layers, rows of several widths, or values that are not finite.
    """
    layers = tuple(sorted(rows))
    check_layers(source, layers)
    shapes = sorted({rows[layer].shape for layer in layers})
    if len(shapes) != 1 or len(shapes[0]) != 1:
        found = ", ".join(map(str, shapes[:5])) or "none"
        raise VectorError(f"{source}: directions of the shapes {found}; expected one shape (width,) for all layers.")
    try:
        return SteeringVector(
            directions_LD=np.stack([rows[layer] for layer in layers]),
            layers=layers,
            residual_norm_L=None,
            model="",
            model_fingerprint="",
            trait="",
            estimator="",
            positions="",
        )
    except VectorError as error:
        raise VectorError(f"{source}: {error}") from error


def left_out(vector: SteeringVector) -> tuple[str, ...]:
    """A sentence on what a file of mere directions does not keep of a vector."""
    facts = {
        "the model": vector.model or vector.model_fingerprint or vector.model_type or vector.revision,
        "the residual norms (so strengths have no meaning)": vector.residual_norm_L is not None,
        "the trait": vector.trait,
        "how it was estimated": vector.estimator or vector.positions or vector.dtype,
        "the recommendation": vector.recommended_layer is not None or vector.recommended_strength is not None,
        "the evidence": vector.evidence,
    }
    missing = [fact for fact, held in facts.items() if held]
    return (f"The format holds only directions; left out: {', '.join(missing)}.",) if missing else ()
