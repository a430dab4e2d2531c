"""What a vector of ours knows beside its directions, as JSON, for others' files that have room for it.

Shapes: L layers, D width.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from steer_llama.errors import VectorError
from steer_llama.vectors.vector import Floats, SteeringVector

KEY = "steer_llama"
"""Under which it stands in a file of another tool."""
_TEXTS = (
    "model", "model_fingerprint", "trait", "estimator", "positions", "dtype", "revision", "model_type",
)  # fmt: skip
_MOST_LAYERS = 2**31


def known(vector: SteeringVector) -> dict[str, Any]:
    """All but the directions and their layers.

    The evidence is JSON in a string, as in our own files: no reader that limits nesting or numbers minds it.
    """
    facts: dict[str, Any] = {name: getattr(vector, name) for name in _TEXTS}
    if vector.residual_norm_L is not None:
        norms = vector.residual_norm_L.tolist()
        facts["residual_norm"] = {str(layer): norm for layer, norm in zip(vector.layers, norms, strict=True)}
    facts["recommended_layer"] = vector.recommended_layer
    facts["recommended_strength"] = vector.recommended_strength
    facts["evidence"] = json.dumps(vector.evidence, sort_keys=True)
    return facts


def vector_of(directions_LD: Floats, layers: Sequence[int], facts: object = None, **texts: str) -> SteeringVector:
    """A vector from a file's directions and what `known` gave when it was written.

    Args:
        directions_LD: float32.
        layers: the 0-based block of each row, at its output.
        facts: as the file has them; ``None`` where it has none.
        texts: fields that the file tells in its own words, for where there are no facts.

    Raises:
        VectorError: it is no vector, or the facts have another shape.
    """
    if any(layer >= _MOST_LAYERS for layer in layers):
        raise VectorError(f"layer {max(layers)}: no model has so many.")
    found = {} if facts is None else facts
    if not isinstance(found, Mapping):
        raise VectorError(f"{KEY!r} is a {type(found).__name__}; expected an object.")
    told = {name: found.get(name, texts.get(name, "")) for name in _TEXTS}
    for name, value in told.items():
        if not isinstance(value, str):
            raise VectorError(f"{name!r} is a {type(value).__name__}; expected a text.")
    layer, strength = found.get("recommended_layer"), found.get("recommended_strength")
    if layer is not None and (not isinstance(layer, int) or isinstance(layer, bool)):
        raise VectorError(f"'recommended_layer' is {layer!r}; expected a whole number.")
    return SteeringVector(
        directions_LD=directions_LD,
        layers=tuple(layers),
        residual_norm_L=_residual_norm_L(found.get("residual_norm"), layers),
        recommended_layer=layer,
        recommended_strength=None if strength is None else _number(strength, "recommended_strength"),
        evidence=_evidence(found.get("evidence", "{}")),
        **told,
    )


def _residual_norm_L(found: object, layers: Sequence[int]) -> Floats | None:
    if found is None:
        return None
    if not isinstance(found, Mapping) or set(found) != {str(layer) for layer in layers}:
        raise VectorError("'residual_norm' does not name the vector's layers, each once.")
    with np.errstate(over="ignore"):  # infinity is refused by the vector
        return np.array([_number(found[str(layer)], "residual_norm") for layer in layers]).astype(np.float32)


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VectorError(f"{name!r} is {value!r}; expected a number.")
    try:
        return float(value)
    except OverflowError:
        raise VectorError(f"{name!r} is too large a number.") from None


def _evidence(text: object) -> dict[str, Any]:
    try:
        evidence = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise VectorError(f"'evidence' is not JSON ({error}).") from None
    if not isinstance(evidence, dict):
        raise VectorError("'evidence' is not a JSON object in a text.")
    return evidence
