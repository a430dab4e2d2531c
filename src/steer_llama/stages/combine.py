"""``combine``: one vector of several, by an expression; refused where they do not belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steer_llama.errors import AmbiguousFormatError, ConfigError, FileError, VectorError
from steer_llama.stages.vector_files import read_any
from steer_llama.vectors import Reading, SteeringVector, evaluate, format_named
from steer_llama.vectors.layer_ranges import layer_ranges
from steer_llama.vectors.origin import is_name

_ALIKE = 0.3
"""Mean |cosine| from which two vectors are said to interfere."""


@dataclass(frozen=True)
class Combined:
    """A vector of several, and what is worth telling of it."""

    vector: SteeringVector
    parents: Mapping[str, SteeringVector]
    notes: tuple[str, ...]
    """What was assumed and lost: a sentence each."""


def combine(
    expression: str, files: Mapping[str, Path], *, forms: Mapping[str, str] | None = None, any_model: bool = False
) -> Combined:
    """Evaluate an expression over vectors from files of any format.

    Args:
        expression: see `vectors.evaluate`.
        files: the vectors, by their names in it.
        forms: the format of files that do not tell it, by those names.
        any_model: accept vectors of other weights of the same width.

    Raises:
        ConfigError: the expression, or names that do not fit it.
        FileError: a file cannot be read.
        VectorError: the vectors do not fit together, or nothing is left.
        LayerError: a vector has not the layers that are asked for.
    """
    readings = {name: _read(name, path, (forms or {}).get(name)) for name, path in files.items()}
    parents = {name: reading.vector for name, reading in readings.items()}
    vector = evaluate(expression, parents, any_model=any_model)
    empty = [layer for layer, row_D in zip(vector.layers, vector.directions_LD, strict=True) if not np.any(row_D)]
    if len(empty) == len(vector.layers):
        raise VectorError(f"{vector.trait}: nothing is left of it; it is zero at every layer.")
    zero = [f"zero at layer {layer_ranges(empty)}: nothing is left there."] if empty else []
    told = [f"{name}: {note}" for name, reading in readings.items() for note in reading.notes]
    return Combined(vector, parents, (*told, *vector.evidence["combination"]["notes"], *zero))


def _read(name: str, path: Path, form: str | None) -> Reading:
    try:
        return read_any(path, form)
    except AmbiguousFormatError as error:
        choice = " or ".join(f"--format {name}={candidate}" for candidate in error.candidates)
        raise FileError(f"{error} Here: {choice}.") from error


def named_files(given: Sequence[str]) -> dict[str, Path]:
    """Files by name, from ``NAME=FILE``.

    Raises:
        ConfigError: a part is missing, a name cannot stand in an expression, or stands twice.
    """
    files: dict[str, Path] = {}
    for text in given:
        name, sign, path = text.partition("=")
        if not (sign and name and path):
            raise ConfigError(f"--vector {text!r}: expected NAME=FILE, e.g. emoji=out/vector.safetensors.")
        if not is_name(name):
            raise ConfigError(
                f"--vector {text!r}: {name!r} cannot be a name in an expression; use letters, digits and _, and no "
                "word that means something there."
            )
        if name in files:
            raise ConfigError(f"--vector {name}=… stands twice ({files[name]} and {path}); give one another name.")
        files[name] = Path(path)
    return files


def named_formats(given: Sequence[str], files: Mapping[str, Path]) -> dict[str, str]:
    """Formats by the name of the vector, from ``NAME=FORMAT``.

    Raises:
        ConfigError: a part is missing, or there is no such vector or format.
    """
    forms: dict[str, str] = {}
    for text in given:
        name, _, form = text.partition("=")
        if name not in files or name in forms:
            raise ConfigError(f"--format {text!r}: expected NAME=FORMAT, once for a NAME of --vector.")
        forms[name] = format_named(form).name
    return forms


def interference(vector: SteeringVector) -> list[str]:
    """How much the parts of a combined vector get into each other's way: a sentence a pair."""
    told = []
    for pair in vector.evidence["combination"]["cosines"]:
        one, other = pair["between"]
        cosine_L = np.array(pair["cosine"])
        mean, low, high = (round(float(value), 2) + 0.0 for value in (cosine_L.mean(), cosine_L.min(), cosine_L.max()))
        size = float(np.abs(cosine_L).mean())
        means = (
            "they hardly interfere"
            if size < _ALIKE
            else f"adding one moves the other's trait {'along' if mean > 0 else 'the other way'}; "
            f"project_out({other}, {one}) leaves what is {other}'s own"
        )
        told.append(f"{one} and {other}: cosine {mean:.2f} on average ({low:.2f} to {high:.2f}): {means}")
    return told
