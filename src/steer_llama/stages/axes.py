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


def files_of(given: Sequence[str]) -> list[tuple[str, Path]]:
    """Names (empty where none is given) and files, from ``FILE`` or ``NAME=FILE``."""
    files = []
    for text in given:
        name, sign, path = text.partition("=")
        if Path(text).exists() or not sign:
            name, path = "", text
        elif not (name and path):
            raise ConfigError(f"--vector {text!r}: expected FILE or NAME=FILE, e.g. emoji=out/vector.safetensors.")
        files.append((name, Path(path)))
    return files


def named(
    files: Sequence[tuple[str, Path]], vectors: Sequence[SteeringVector]
) -> dict[str, tuple[Path, SteeringVector]]:
    """Vectors by name: the given one, the trait, or the file's stem where another has that trait too.

    Raises:
        ConfigError: two have the same name.
    """
    traits = [name or vector.trait for (name, _), vector in zip(files, vectors, strict=True)]
    found: dict[str, tuple[Path, SteeringVector]] = {}
    for (given, path), trait, vector in zip(files, traits, vectors, strict=True):
        name = given or (trait if trait and traits.count(trait) == 1 else path.stem)
        if name in found:
            raise ConfigError(
                f"--vector: {found[name][0]} and {path} are both called {name!r}. Give them names: --vector NAME=FILE."
            )
        found[name] = (path, vector)
    return found


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
