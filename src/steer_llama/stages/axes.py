"""Which vectors a text is looked at along, and at which layers: as a user says, or as the vectors' evidence says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steer_llama.errors import ConfigError
from steer_llama.vectors import SteeringVector
from steer_llama.vectors.columns import Column, evidence_columns
from steer_llama.vectors.layer_ranges import layer_ranges


@dataclass(frozen=True, eq=False)
class Chosen:
    """A vector at a layer."""

    name: str
    file: Path
    vector: SteeringVector
    layer: int
    reason: str


def choose(vectors: Mapping[str, tuple[Path, SteeringVector]], given: Sequence[str]) -> list[Chosen]:
    """Each vector at the layers that are asked for; else at the one that it recommends, or that its evidence prefers.

    Args:
        vectors: by name.
        given: ``LAYER`` for every vector, or ``NAME@LAYER`` for one; several for one vector show it at each.

    Raises:
        ConfigError: no such name, no number, or nothing tells the layer.
        LayerError: the vector has no such layer.
    """
    for_all, for_one = _asked(given, vectors)
    chosen = []
    for name, (path, vector) in vectors.items():
        asked = for_one.get(name) or for_all
        layers = [(layer, "as asked") for layer in asked] or [_best(name, path, vector)]
        for layer, reason in layers:
            vector.direction_D(layer)
            chosen.append(Chosen(f"{name}@{layer}" if len(layers) > 1 else name, path, vector, layer, reason))
    return chosen


def _asked(given: Sequence[str], vectors: Mapping[str, object]) -> tuple[list[int], dict[str, list[int]]]:
    for_all: list[int] = []
    for_one: dict[str, list[int]] = {}
    for text in given:
        name, at, number = text.rpartition("@")
        if not number.isdecimal():
            raise ConfigError(f"--layer {text!r}: expected a whole number or NAME@LAYER, e.g. 12 or emoji@12.")
        if at and name not in vectors:
            raise ConfigError(f"--layer {text!r}: there is no vector {name!r}; there are: {', '.join(vectors)}.")
        layers = for_one.setdefault(name, []) if at else for_all
        if int(number) not in layers:
            layers.append(int(number))
    return for_all, for_one


def _best(name: str, path: Path, vector: SteeringVector) -> tuple[int, str]:
    if vector.recommended_layer is not None:
        return vector.recommended_layer, "recommended by the vector"
    if len(vector.layers) == 1:
        return vector.layers[0], "the only one that the vector has"
    columns = evidence_columns(vector)
    auroc = _values(columns.get("held_out_auroc"), len(vector.layers))
    if not np.isfinite(auroc).any():
        raise ConfigError(
            f"{path} recommends no layer and says nothing of which is best: give --layer {name}@LAYER (it has "
            f"{layer_ranges(sorted(vector.layers))}; try one in the middle of the model), or find one with "
            "`steer-llama sweep` and `steer-llama report`."
        )
    distance = _values(columns.get("held_out_cohens_d"), len(vector.layers))
    best = max(range(len(auroc)), key=lambda row: (auroc[row], distance[row], -vector.layers[row]))
    told = f"tells held-out pairs apart best (AUROC {auroc[best]:.2f}"
    if (auroc == auroc[best]).sum() > 1 and np.isfinite(distance[best]):
        told += f" as others, Cohen's d {distance[best]:.1f}"
    return vector.layers[best], f"{told}); the vector recommends none"


def _values(column: Column | None, count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Numbers per layer, and −∞ where there is none."""
    given = (column and column.value) or (None,) * count
    return np.array([-np.inf if value is None else value for value in given])
