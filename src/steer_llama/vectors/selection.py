"""Some layers of a vector, by their numbers."""

from collections.abc import Iterable, Sequence
from operator import index
from typing import TYPE_CHECKING

from steer_llama.errors import LayerError
from steer_llama.vectors.combination import combined, rows_LD
from steer_llama.vectors.layer_ranges import layer_ranges
from steer_llama.vectors.origin import ATOM, origin_of, rewritten

if TYPE_CHECKING:
    from steer_llama.vectors.vector import SteeringVector


def select(a: "SteeringVector", layers: Iterable[int]) -> "SteeringVector":
    """These layers alone, in ascending order.

    Raises:
        LayerError: it has not all of them, or none is named.
    """
    chosen, origin = sorted(set(layers)), origin_of(a)
    return _at(a, chosen, f"select({', '.join([origin.expression, *map(str, chosen)])})")


def at_layers(a: "SteeringVector", layers: int | slice) -> "SteeringVector":
    """``a[12]`` or ``a[10:20]``: layers by their number; those of a slice that it has.

    Raises:
        LayerError: it has none of them.
    """
    inner = origin_of(a).within(ATOM)
    if not isinstance(layers, slice):
        return _at(a, [index(layers)], f"{inner}[{layers}]")
    bounds = [layers.start, layers.stop] if layers.step is None else [layers.start, layers.stop, layers.step]
    text = ":".join("" if bound is None else str(bound) for bound in bounds)
    if any(bound is not None and bound < 0 for bound in bounds) or layers.step == 0:
        raise LayerError(f"{inner}[{text}]: layers are counted from 0 on, and never from the end; a step is 1 or more.")
    within = range(max(a.layers) + 1)[layers]
    chosen = sorted(layer for layer in a.layers if layer in within)
    if not chosen:
        raise LayerError(f"{inner}[{text}]: no such layers; it has {layer_ranges(sorted(a.layers))}.")
    return _at(a, chosen, f"{inner}[{text}]")


def _at(a: "SteeringVector", layers: Sequence[int], text: str) -> "SteeringVector":
    if missing := [layer for layer in layers if layer not in a.layers]:
        raise LayerError(f"{text}: no layer {layer_ranges(missing)}; it has {layer_ranges(sorted(a.layers))}.")
    if not layers:
        raise LayerError(f"{text}: name at least one layer; it has {layer_ranges(sorted(a.layers))}.")
    return combined(a, rows_LD(a, layers), rewritten(origin_of(a), text, ATOM), tuple(layers))
