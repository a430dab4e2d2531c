"""Vectors in everybody's files: one module a format."""

from collections.abc import Mapping
from pathlib import Path

from steer_llama.errors import AmbiguousFormatError, ConfigError, FileError
from steer_llama.vectors.formats import (
    assistant_axis,
    easysteer,
    gguf,
    native,
    numpy_arrays,
    persona_vectors,
    saklas,
    seed,
    steering_vectors,
    vllm_lens,
)
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.native import read_vector, write_vector
from steer_llama.vectors.formats.steering_vectors import from_steering_vectors, to_steering_vectors
from steer_llama.vectors.vector import SteeringVector

FORMATS: Mapping[str, VectorFormat] = {
    form.name: form
    for form in (
        assistant_axis.FORMAT,
        easysteer.FORMAT,
        gguf.FORMAT,
        native.FORMAT,
        numpy_arrays.FORMAT,
        persona_vectors.FORMAT,
        saklas.FORMAT,
        seed.FORMAT,
        steering_vectors.FORMAT,
        vllm_lens.FORMAT,
    )
}


def open_vector(path: Path, name: str | None = None) -> Reading:
    """Read a vector of any format.

    Args:
        path: the file.
        name: its format, where the file itself does not tell it.

    Raises:
        FileError: missing, damaged, or of no format that we know.
        AmbiguousFormatError: it could be of several formats, and does not tell which.
        ConfigError: there is no format of that name.
        VectorError: its content is no vector.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file (expected a vector).")
    if name is not None:
        return format_named(name).read(path)
    for form in FORMATS.values():
        if form.recognises(path):
            return form.read(path)
    readings = {form.name: told for form in FORMATS.values() if (told := form.may_be(path)) is not None}
    if readings:
        raise AmbiguousFormatError(str(path), readings)
    raise FileError(
        f"{path}: of no format that tells itself. If it is one of {', '.join(FORMATS)}, name it: "
        f"steer-llama convert {path} vector.safetensors --from FORMAT."
    )


def save_vector(path: Path, vector: SteeringVector, name: str) -> tuple[str, ...]:
    """Write a vector in a format, and tell what the format cannot hold.

    Raises:
        ConfigError: there is no format of that name.
        VectorError: the format cannot hold it at all.
        StorageError: the place cannot be written.
    """
    return format_named(name).write(path, vector)


def format_named(name: str) -> VectorFormat:
    """The format of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"format {name!r}: unknown. There are: {', '.join(FORMATS)}.")
    return FORMATS[name]


__all__ = [
    "FORMATS",
    "Reading",
    "VectorFormat",
    "format_named",
    "from_steering_vectors",
    "open_vector",
    "read_vector",
    "save_vector",
    "to_steering_vectors",
    "write_vector",
]
