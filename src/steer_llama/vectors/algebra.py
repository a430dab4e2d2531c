"""The algebra of vectors: sums, multiples, projections and lengths.

Every result tells in its evidence, under ``combination``, what it was made of and what is left of each part. It has no
recommendation: which layer and strength are best has to be found again.

Shapes: L layers, D width.
"""

from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import numpy.typing as npt

from steer_llama.errors import VectorError
from steer_llama.vectors.combination import combined, rows_LD
from steer_llama.vectors.compatible import check_layers, check_models, check_units
from steer_llama.vectors.layer_ranges import layer_ranges
from steer_llama.vectors.origin import ATOM, PRODUCT, SUM, Origin, beside, leaf, origin_of, rewritten

if TYPE_CHECKING:
    from steer_llama.vectors.vector import SteeringVector

Floats = npt.NDArray[np.float64]

_NOTHING = 1e-6
"""Share of the parts' length below which what is left is rounding (float32 has 6e-8), and is set to zero."""


def named(vector: "SteeringVector", name: str) -> "SteeringVector":
    """The vector under a name of its own in the expressions that it comes to stand in, instead of its trait's."""
    return replace(vector, origin=leaf(vector, name))


def add(a: "SteeringVector", b: "SteeringVector", *, any_model: bool = False) -> "SteeringVector":
    """``a + b``.

    Args:
        a: a vector.
        b: another of the same model and layers, in the same units.
        any_model: accept vectors of other weights of the same width.

    Raises:
        VectorError: they do not fit together.
    """
    return _sum(a, b, 1, any_model)


def subtract(a: "SteeringVector", b: "SteeringVector", *, any_model: bool = False) -> "SteeringVector":
    """``a - b``; as `add`."""
    return _sum(a, b, -1, any_model)


def scale(a: "SteeringVector", factor: float) -> "SteeringVector":
    """``factor * a``.

    Raises:
        VectorError: the factor, or what comes of it, is not finite.
    """
    origin = origin_of(a)
    text = f"{_number(factor)} * {origin.within(PRODUCT)}"
    return combined(a, _times(a, float(factor)), rewritten(origin, text, PRODUCT))


def divide(a: "SteeringVector", divisor: float) -> "SteeringVector":
    """``a / divisor``; as `scale`, and the divisor must not be zero."""
    origin = origin_of(a)
    text = f"{origin.within(PRODUCT)} / {_number(divisor)}"
    if float(divisor) == 0:
        raise VectorError(f"{text}: nothing can be divided by zero.")
    return combined(a, _times(a, 1 / float(divisor)), rewritten(origin, text, PRODUCT))


def negate(a: "SteeringVector") -> "SteeringVector":
    """``-a``: away from the trait."""
    origin = origin_of(a)
    return combined(a, -a.directions_LD.astype(np.float64), rewritten(origin, f"-{origin.within(PRODUCT)}", PRODUCT))


def project_out(a: "SteeringVector", b: "SteeringVector", *, any_model: bool = False) -> "SteeringVector":
    """``a`` without what points along ``b``, layer by layer.

    Raises:
        VectorError: as `add`, but their units may differ; or ``b`` is zero at a layer.
    """
    origins, notes = _checked(a, b, any_model)
    a_LD = a.directions_LD.astype(np.float64)
    left_LD = a_LD - _onto(a, b, origins[1])
    left_LD[_norms(left_LD) <= _NOTHING * _norms(a_LD)] = 0
    return combined(a, left_LD, _called("project_out", origins, notes))


def project_onto(a: "SteeringVector", b: "SteeringVector", *, any_model: bool = False) -> "SteeringVector":
    """What of ``a`` points along ``b``, layer by layer; as `project_out`."""
    origins, notes = _checked(a, b, any_model)
    return combined(a, _onto(a, b, origins[1]), _called("project_onto", origins, notes))


def unit(a: "SteeringVector") -> "SteeringVector":
    """Every layer's direction with norm 1.

    Raises:
        VectorError: a layer's direction is zero.
    """
    origin = origin_of(a)
    return combined(a, _unit_LD(a, origin), rewritten(origin, f"unit({origin.expression})", ATOM, "unit"))


def relative(a: "SteeringVector") -> "SteeringVector":
    """Every layer's direction as long as the residual stream is on average: strength 1.

    Raises:
        VectorError: a layer's direction is zero, or the vector does not know the residual's norm.
    """
    origin = origin_of(a)
    if a.residual_norm_L is None:
        raise VectorError(
            f"{origin.expression} does not say how large the residual stream is, so that relative() has no meaning; "
            "unit() has."
        )
    directions_LD = _unit_LD(a, origin) * a.residual_norm_L.astype(np.float64)[:, None]
    return combined(a, directions_LD, rewritten(origin, f"relative({origin.expression})", ATOM, "residual"))


def is_number(value: object) -> TypeGuard[float]:
    """Whether a vector can be multiplied by it."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _sum(a: "SteeringVector", b: "SteeringVector", sign: int, any_model: bool) -> "SteeringVector":
    origins, notes = _checked(a, b, any_model)
    check_units(*origins)
    a_LD, b_LD = a.directions_LD.astype(np.float64), rows_LD(b, a.layers)
    sum_LD = a_LD + sign * b_LD
    sum_LD[_norms(sum_LD) <= _NOTHING * np.maximum(_norms(a_LD), _norms(b_LD))] = 0
    one, other = origins
    text = f"{one.expression} {'+' if sign > 0 else '-'} {other.within(SUM if sign > 0 else PRODUCT)}"
    return combined(a, sum_LD, Origin(text, SUM, {**one.parents, **other.parents}, one.units, notes))


def _checked(
    a: "SteeringVector", b: "SteeringVector", any_model: bool
) -> tuple[tuple[Origin, Origin], tuple[str, ...]]:
    """Both origins, without a name for two vectors, and all notes."""
    one = origin_of(a)
    other = beside(one, origin_of(b))
    told = check_models(a, b, (one.expression, other.expression), any_model)
    check_layers(a, b, (one, other))
    return (one, other), tuple(dict.fromkeys((*one.notes, *other.notes, *told)))


def _called(function: str, origins: tuple[Origin, Origin], notes: tuple[str, ...]) -> Origin:
    one, other = origins
    text = f"{function}({one.expression}, {other.expression})"
    return Origin(text, ATOM, {**one.parents, **other.parents}, one.units, notes)


def _times(a: "SteeringVector", factor: float) -> Floats:
    with np.errstate(over="ignore"):
        product_LD: Floats = a.directions_LD.astype(np.float64) * factor
    return product_LD


def _onto(a: "SteeringVector", b: "SteeringVector", origin: Origin) -> Floats:
    along_LD = _unit_LD(b, origin)[[b.layers.index(layer) for layer in a.layers]]
    onto_LD: Floats = (a.directions_LD.astype(np.float64) * along_LD).sum(axis=1, keepdims=True) * along_LD
    return onto_LD


def _unit_LD(a: "SteeringVector", origin: Origin) -> Floats:
    directions_LD = a.directions_LD.astype(np.float64)
    norms_L = _norms(directions_LD)
    if zero := [layer for layer, norm in zip(a.layers, norms_L, strict=True) if norm == 0]:
        raise VectorError(
            f"{origin.expression} is zero at layer(s) {layer_ranges(zero)}, so that it has no direction there. Select "
            "the other layers first."
        )
    return directions_LD / norms_L[:, None]


def _norms(directions: Floats) -> Floats:
    norms: Floats = np.linalg.norm(directions, axis=-1)
    return norms


def _number(factor: float) -> str:
    if not np.isfinite(factor):
        raise VectorError(f"{factor} * a vector: expected a finite number.")
    return format(float(factor), ".15g")
