"""Layers in words."""

from collections.abc import Sequence


def layer_ranges(layers: Sequence[int]) -> str:
    """``4 to 9`` for layers that stand in a row, else all of them: ``4, 7, 9``."""
    if len(layers) > 1 and is_run(layers):
        return f"{layers[0]} to {layers[-1]}"
    return ", ".join(map(str, layers))


def is_run(layers: Sequence[int]) -> bool:
    """Whether they follow one another without a gap."""
    return list(layers) == list(range(layers[0], layers[0] + len(layers)))
