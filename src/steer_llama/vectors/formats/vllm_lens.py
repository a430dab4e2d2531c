"""vllm-lens' JSON: what its ``SteeringVector.model_dump(mode="json")`` gives (vllm-lens 1.3.0).

Its layer index i hooks decoder layer i and adds to the output (``_worker_ext.py``): our L = i.

Shapes: L layers, D width, P token positions.
"""

import base64
import binascii
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steer_llama.errors import FileError, LayerError, VectorError
from steer_llama.files import read_json, write_text
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.expanding import check_growth
from steer_llama.vectors.formats.known import KEY, known, vector_of
from steer_llama.vectors.vector import Floats, SteeringVector

_WHAT = "a vector of vllm-lens: an object with 'activations' and 'layer_indices'"
_BEGINNING = re.compile(rb'\s*\[?\s*\{\s*"activations"\s*:\s*\{\s*"')
_DTYPES = {"float32": np.float32, "float16": np.float16, "float64": np.float64, "int16": np.int16}
_BFLOAT16 = "torch.bfloat16"


class _Tensor(BaseModel):
    data: str
    """Base64."""
    dtype: str
    original_dtype: str | None = None
    shape: list[int]
    compression: str | None = None
    """``zstd``, or ``None`` in files of old versions."""


class _File(BaseModel):
    """As lenient with numbers as vllm-lens is."""

    model_config = ConfigDict(extra="ignore")

    activations: _Tensor
    layer_indices: list[int]
    scale: float = 1.0
    norm_match: bool = False
    position_indices: list[int] | None = None
    ours: Any = Field(default=None, alias=KEY)


def _recognises(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _BEGINNING.match(file.read(200)) is not None
    except OSError:
        return False


def _read(path: Path) -> Reading:
    value = read_json(path, _WHAT)
    if isinstance(value, list):
        if len(value) != 1:
            raise FileError(f"{path}: a list of {len(value)} vectors; expected one. Put each in a file of its own.")
        (value,) = value
    try:
        file = _File.model_validate(value)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the whole"
        raise FileError(f"{path}: {place}: {problem['msg']} (expected {_WHAT}).") from None
    try:
        return _reading(file)
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    except (VectorError, LayerError) as error:
        raise VectorError(f"{path}: {error}") from error


def _reading(file: _File) -> Reading:
    notes: list[str] = []
    activations, stored = _unpacked(file.activations)
    if activations.ndim == 3:
        if activations.shape[1] != 1:
            raise VectorError(
                f"it has a direction for each of {activations.shape[1]} token positions; a vector here has one for all "
                "tokens. Take one position's with vllm-lens, and save that."
            )
        place = (file.position_indices or [0])[0]
        notes.append(f"vllm-lens adds it at token {place} alone; a vector here is added at every token.")
        activations = activations[:, 0]
    elif file.position_indices is not None:
        notes.append("it has position_indices, which vllm-lens does not use for a vector like this one.")
    if stored == "float64":
        notes.append("it was kept in float64; here it is rounded to float32.")
    factor = 1.0
    if file.norm_match:
        notes.append(
            f"norm_match: vllm-lens scales the direction to {file.scale:g} times each token's own residual norm, which "
            "a vector here cannot hold. The directions are kept as they are; where the norms are known, "
            f"--strength {file.scale:g} is the nearest."
        )
    elif file.scale != 1:
        if not math.isfinite(file.scale):
            raise VectorError(f"'scale' is {file.scale}; expected a finite number.")
        factor = file.scale
        notes.append(f"its scale, {file.scale:g}, is multiplied into the directions.")
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused by the vector
        directions_LD: Floats = (activations * factor).astype(np.float32)
    return Reading(vector_of(directions_LD, file.layer_indices, file.ours), FORMAT.name, tuple(notes))


def _unpacked(tensor: _Tensor) -> tuple[np.ndarray, str]:
    """The activations in float64, (L, D) or (L, P, D), and what they were kept in; nothing unpickled."""
    stored = tensor.original_dtype if tensor.original_dtype == _BFLOAT16 else tensor.dtype
    if tensor.dtype not in _DTYPES or (tensor.dtype == "int16") != (stored == _BFLOAT16):
        known_types = "float16, float32, float64, or int16 that stands for torch.bfloat16"
        raise VectorError(f"the activations are {tensor.dtype} ({tensor.original_dtype}); expected {known_types}.")
    if len(tensor.shape) not in (2, 3) or any(size < 1 for size in tensor.shape):
        raise VectorError(f"the activations have the shape {tensor.shape}; expected (layers, width).")
    wanted = math.prod(tensor.shape) * np.dtype(_DTYPES[tensor.dtype]).itemsize
    try:
        raw = base64.b64decode(tensor.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileError(f"'activations.data' is not base64 ({error}).") from None
    raw = _decompressed(raw, wanted, tensor.compression)
    if len(raw) != wanted:
        raise FileError(f"'activations' holds {len(raw):,} bytes; its shape {tensor.shape} needs {wanted:,}.")
    values = np.frombuffer(raw, dtype=_DTYPES[tensor.dtype])
    if stored == _BFLOAT16:  # the upper half of a float32
        values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):  # NaN is refused by the vector
        return values.reshape(tensor.shape).astype(np.float64), stored


def _decompressed(raw: bytes, wanted: int, compression: str | None) -> bytes:
    if compression is None:
        return raw
    if compression != "zstd":
        raise FileError(f"'activations' is compressed as {compression!r}; expected 'zstd'.")
    try:
        declared = zstandard.frame_content_size(raw)
        if declared != wanted:
            raise FileError(f"'activations' unpacks to {declared:,} bytes; its shape needs {wanted:,}.")
        check_growth(declared, len(raw), "'activations'")
        return zstandard.ZstdDecompressor().decompress(raw)
    except (zstandard.ZstdError, ValueError) as error:
        raise FileError(f"'activations' is damaged ({error}).") from None


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    values_LD = np.ascontiguousarray(vector.directions_LD, dtype="<f4")
    compressed = zstandard.ZstdCompressor(level=1).compress(values_LD.tobytes())
    value = {
        "activations": {
            "data": base64.b64encode(compressed).decode("ascii"),
            "dtype": "float32",
            "original_dtype": "torch.float32",
            "shape": list(values_LD.shape),
            "compression": "zstd",
        },
        "layer_indices": list(vector.layers),
        "scale": 1.0,
        "norm_match": False,
        "position_indices": None,
        KEY: known(vector),
    }
    write_text(path, json.dumps(value) + "\n")
    return ()


FORMAT = VectorFormat(
    name="vllm-lens",
    title="vllm-lens (JSON of its SteeringVector)",
    suffix=".json",
    layer_convention="layer_indices[i] is block layer_indices[i], at its output: the same number as here",
    recognises=_recognises,
    read=_read,
    write=_write,
)
