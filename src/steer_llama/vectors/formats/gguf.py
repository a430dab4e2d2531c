"""``gguf``: control vectors of llama.cpp and repeng 0.4."""

from pathlib import Path
from typing import Any

from steer_llama.errors import VectorError
from steer_llama.vectors.formats import easysteer
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.control_vector import LAYER_CONVENTION, read_control_vector, write_control_vector
from steer_llama.vectors.formats.gguf_header import Header, is_gguf, read_header
from steer_llama.vectors.vector import SteeringVector


def _recognises(path: Path) -> bool:
    # Damaged files too: then reading says what is wrong with them.
    return is_gguf(path) and not easysteer.FORMAT.recognises(path)


def _read(path: Path) -> Reading:
    vector, notes = read_control_vector(path, read_header(path), _nothing_else)
    return Reading(vector, FORMAT.name, notes)


def _nothing_else(_header: Header) -> dict[str, Any]:
    return {}


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    layers = tuple(layer for layer in vector.layers if layer > 0)
    if not layers:
        raise VectorError(
            "the vector has only layer 0, which llama.cpp's control vectors cannot hold: it would answer unsteered. "
            "Choose another layer, or export a checkpoint, which can be steered at layer 0."
        )
    notes = write_control_vector(path, vector, layers, lambda _writer: None)
    if 0 in vector.layers:
        notes = ("layer 0 is left out: llama.cpp refuses a file that holds it.", *notes)
    return notes


FORMAT = VectorFormat(
    name="gguf",
    title="llama.cpp's and repeng's control vector",
    suffix=".gguf",
    layer_convention=f"{LAYER_CONVENTION}; there is no N = 0",
    recognises=_recognises,
    read=_read,
    write=_write,
)
