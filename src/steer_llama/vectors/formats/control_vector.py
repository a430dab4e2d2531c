"""Control vectors in GGUF: a float32 tensor ``direction.N`` per layer, added at the output of 0-based block N.

That is repeng 0.4's layout (``ControlVector.export_gguf``), which llama.cpp loads (``common_control_vector_load``) and
EasySteer extends. What others do not know is kept under keys of our own (``steer_llama.*``), which they pass over.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from steer_llama.errors import FileError, LayerError, VectorError
from steer_llama.files import atomic_path
from steer_llama.vectors.formats.gguf_facts import TEXTS, add_facts, has_facts, read_facts, text_of
from steer_llama.vectors.formats.gguf_header import Header, Tensor
from steer_llama.vectors.vector import Floats, SteeringVector

LAYER_CONVENTION = "direction.N is added at the output of 0-based block N"
ARCHITECTURE = "controlvector"
MODEL_HINT = "controlvector.model_hint"
LAYER_COUNT = "controlvector.layer_count"
UNKNOWN = "unknown"

_DIRECTION = "direction."
_DEEPEST = 9_999
_F32, _F16, _BF16 = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.BF16
_BYTES = {_F32: 4, _F16: 2, _BF16: 2}


def write_control_vector(
    path: Path, vector: SteeringVector, layers: tuple[int, ...], extend: Callable[[gguf.GGUFWriter], None]
) -> tuple[str, ...]:
    """Write the directions of ``layers``, in ascending order, with all that we know; ``extend`` adds values.

    Returns:
        What the file cannot hold.

    Raises:
        StorageError: the place cannot be written.
    """
    notes = []
    if not vector.model_type:
        notes.append(f"the model's architecture is not known, so {MODEL_HINT} says {UNKNOWN!r} (repeng wants one).")
    keeps_recommended = vector.recommended_layer is None or vector.recommended_layer in layers
    if not keeps_recommended:
        notes.append(f"the recommendation is left out, as it is for layer {vector.recommended_layer}.")
    rows = {layer: vector.layers.index(layer) for layer in sorted(layers)}
    with atomic_path(path) as temporary:
        writer = gguf.GGUFWriter(temporary, ARCHITECTURE)
        try:
            writer.add_string(MODEL_HINT, vector.model_type or UNKNOWN)
            writer.add_uint32(LAYER_COUNT, len(rows))
            extend(writer)
            add_facts(writer, vector, rows, keeps_recommended)
            for layer, row in rows.items():
                writer.add_tensor(f"{_DIRECTION}{layer}", np.ascontiguousarray(vector.directions_LD[row], np.float32))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return tuple(notes)


def read_control_vector(
    path: Path, header: Header, others: Callable[[Header], dict[str, Any]]
) -> tuple[SteeringVector, tuple[str, ...]]:
    """Read the vector, its layers in ascending order, with notes of what llama.cpp would not do with the file.

    Args:
        path: the file.
        header: its header.
        others: what a file that we did not write says about the vector: fields of `SteeringVector`.

    Raises:
        FileError: it holds no directions, or is cut off.
        VectorError: its content is no vector.
    """
    tensors = _by_layer(path, header)
    notes = _notes(header, tensors)
    try:
        directions_LD = _directions(path, header, tensors)
        facts = read_facts(header, tuple(tensors)) if has_facts(header) else others(header)
        hint = text_of(header, MODEL_HINT)
        facts.setdefault("model_type", "" if hint == UNKNOWN else hint)
        known = dict.fromkeys(TEXTS, "") | {"residual_norm_L": None} | facts
        vector = SteeringVector(directions_LD=directions_LD, layers=tuple(tensors), **known)
    except (VectorError, LayerError) as error:
        raise VectorError(f"{path}: {error}") from error
    return vector, notes


def _by_layer(path: Path, header: Header) -> dict[int, Tensor]:
    """The directions' tensors in ascending order of their layers."""
    tensors: dict[int, Tensor] = {}
    for tensor in header.tensors:
        if not tensor.name.startswith(_DIRECTION):
            continue
        number = tensor.name.removeprefix(_DIRECTION)
        if not re.fullmatch(r"[0-9]{1,9}", number) or int(number) > _DEEPEST:
            raise VectorError(
                f"{path}: a tensor {tensor.name!r}; expected direction.N with a layer from 0 to {_DEEPEST}."
            )
        if int(number) in tensors:
            raise VectorError(f"{path}: layer {int(number)} stands twice ({tensor.name!r}); expected each once.")
        tensors[int(number)] = tensor
    if not tensors:
        raise FileError(
            f"{path}: not a control vector: GGUF of architecture {_architecture(header)} with {len(header.tensors)} "
            "tensors, none of them direction.N."
        )
    return dict(sorted(tensors.items()))


def _notes(header: Header, tensors: dict[int, Tensor]) -> tuple[str, ...]:
    notes = []
    if header.values.get("general.architecture") != ARCHITECTURE:
        notes.append(
            f"the file's architecture is {_architecture(header)}, not {ARCHITECTURE!r}; it is read all the same."
        )
    if 0 in tensors:
        notes.append("the file holds direction.0, so llama.cpp refuses all of it and answers unsteered.")
    halves = sorted({tensor.kind for tensor in tensors.values()} & {_F16, _BF16})
    if halves:
        named = " and ".join(gguf.GGMLQuantizationType(kind).name for kind in halves)
        notes.append(f"directions are {named}: llama.cpp drops such a file and answers unsteered; export it anew.")
    if len(header.tensors) > len(tensors):
        other = next(tensor.name for tensor in header.tensors if not tensor.name.startswith(_DIRECTION))
        notes.append(f"tensors other than directions are left out ({other!r}); llama.cpp refuses such a file.")
    if MODEL_HINT not in header.values:
        notes.append(f"the file has no {MODEL_HINT}, without which repeng does not import it.")
    return tuple(notes)


def _architecture(header: Header) -> str:
    return repr(str(header.values.get("general.architecture", "none"))[:40])


def _directions(path: Path, header: Header, tensors: dict[int, Tensor]) -> Floats:
    """All checks of shapes and sizes come first: nothing is allocated for a file that lies."""
    sizes = {}
    for layer, tensor in tensors.items():
        if tensor.kind not in _BYTES:
            names = {kind.value: kind.name for kind in gguf.GGMLQuantizationType}
            found = names.get(tensor.kind, f"of the unknown type {tensor.kind}")
            raise VectorError(f"{tensor.name!r} is {found}; expected F32 (F16 and BF16 are read too).")
        # (width, 1) is what a row of a matrix looks like here, and llama.cpp counts it as one axis.
        if not tensor.shape or any(length != 1 for length in tensor.shape[1:]):
            raise VectorError(f"{tensor.name!r} has shape {tensor.shape}; expected (width,).")
        sizes[layer] = tensor.shape[0] * _BYTES[gguf.GGMLQuantizationType(tensor.kind)]
    widths = {tensor.shape[0] for tensor in tensors.values()}
    if len(widths) > 1:
        raise VectorError(f"its directions have different widths ({', '.join(map(str, sorted(widths)[:5]))}).")
    beyond = any(tensor.start + sizes[layer] > header.size for layer, tensor in tensors.items())
    if beyond or sum(sizes.values()) > header.size:
        raise FileError(f"{path}: cut off or damaged: its directions would need more bytes than its {header.size}.")
    rows = []
    try:
        with path.open("rb") as file:
            for layer, tensor in tensors.items():
                file.seek(tensor.start)
                rows.append(_float32(file.read(sizes[layer]), tensor, path))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from error
    return np.stack(rows)


def _float32(content: bytes, tensor: Tensor, path: Path) -> Floats:
    if len(content) != tensor.shape[0] * _BYTES[gguf.GGMLQuantizationType(tensor.kind)]:
        raise FileError(f"{path}: became shorter while it was read.")
    if tensor.kind == _BF16:
        # The upper half of a float32.
        row: Floats = (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4")
    else:
        row = np.frombuffer(content, "<f4" if tensor.kind == _F32 else "<f2").astype(np.float32)
    if not np.isfinite(row).all():
        raise VectorError(f"{tensor.name!r} holds NaN or infinity.")
    return row
