"""Whether two vectors may be added: of one model, as wide, at the same layers, in the same units."""

from typing import TYPE_CHECKING

from steer_llama.errors import VectorError
from steer_llama.vectors.layer_ranges import is_run, layer_ranges
from steer_llama.vectors.origin import ATOM, Origin

if TYPE_CHECKING:
    from steer_llama.vectors.vector import SteeringVector

_SHORT = 12
"""Characters of a fingerprint that are told."""


def check_models(a: "SteeringVector", b: "SteeringVector", names: tuple[str, str], any_model: bool) -> tuple[str, ...]:
    """Refuse vectors of two models, and tell what had to be assumed.

    Args:
        a: a vector.
        b: another.
        names: what they are called in an error.
        any_model: accept other weights of the same width.

    Raises:
        VectorError: other widths; other models, and not ``any_model``.
    """
    one, other = names
    if a.width != b.width:
        raise VectorError(
            f"{one} is {a.width} wide{_of(a)} and {other} is {b.width}{_of(b)}: they are of different models, and "
            "nothing of the one means anything in the other."
        )
    if found := _difference(a, b):
        if not any_model:
            raise VectorError(
                f"{one} and {other} are of different models ({found}): their directions mean nothing to each other. "
                "Fit both on the same weights, or say --any-model (any_model=True) if you mean it, as for a "
                "fine-tune of the same base."
            )
        return (f"{one} and {other} are of different models ({found}), and taken together as --any-model says.",)
    silent = [name for vector, name in ((a, one), (b, other)) if not vector.model_fingerprint]
    if not silent or (a.model and a.model == b.model):
        return ()
    says = f"neither {one} nor {other} says" if len(silent) == 2 else f"{silent[0]} does not say"
    return (f"{says} which weights it is of: they are taken to be the same.",)


def check_layers(a: "SteeringVector", b: "SteeringVector", origins: tuple[Origin, Origin]) -> None:
    """Refuse vectors of other layers.

    Raises:
        VectorError: they differ; it says how to select those that both have.
    """
    if set(a.layers) == set(b.layers):
        return
    one, other = origins
    told = (
        f"{one.expression} has layers {layer_ranges(sorted(a.layers))}, "
        f"{other.expression} has {layer_ranges(sorted(b.layers))}"
    )
    common = sorted(set(a.layers) & set(b.layers))
    if not common:
        raise VectorError(f"{told}: none in common.")
    chosen = " and ".join(_selected(origin, v, common) for origin, v in zip(origins, (a, b), strict=True))
    raise VectorError(f"{told}. Select those that both have: {chosen}.")


def check_units(one: Origin, other: Origin) -> None:
    """Refuse a normalised vector beside one in the units of the residual stream: their sum would be the longer one.

    Raises:
        VectorError: only one of them is normalised.
    """
    if one.units == other.units:
        return
    unit, residual = (one, other) if one.units == "unit" else (other, one)
    raise VectorError(
        f"{unit.expression} is normalised (norm 1 at every layer, or made of such vectors), {residual.expression} is "
        "in units of the residual stream: added, one would drown the other. Bring both to one length first, with "
        "unit() for both, or with relative() where the residual's norm is known."
    )


def _difference(a: "SteeringVector", b: "SteeringVector") -> str:
    """In what their models differ; empty where they do not, or where it is not known."""
    if a.model_fingerprint and b.model_fingerprint:
        if a.model_fingerprint == b.model_fingerprint:
            return ""
        prints = [f"{v.model or '?'}, fingerprint {v.model_fingerprint[:_SHORT]}" for v in (a, b)]
        return "; ".join(prints)
    for mine, theirs in ((a.model, b.model), (a.model_type, b.model_type)):
        if mine and theirs and mine != theirs:
            return f"{mine}; {theirs}"
    return ""


def _of(vector: "SteeringVector") -> str:
    return f" (for {vector.model})" if vector.model else ""


def _selected(origin: Origin, vector: "SteeringVector", layers: list[int]) -> str:
    if set(vector.layers) == set(layers):
        return origin.expression
    if is_run(layers):
        return f"{origin.within(ATOM)}[{layers[0]}:{layers[-1] + 1}]"
    return f"select({origin.expression}, {', '.join(map(str, layers))})"
