"""NumPy: our ``.npz``, and bare arrays of others.

Our archive has ``directions`` (L, D) float32, ``layers`` (L,) int64 (our L), ``residual_norm`` (L,) float32 where it is
known, and ``metadata``, JSON in a string. Archives without ``layers`` and bare ``.npy`` files are read on request: row
i is then taken for block i.

Shapes: L layers, D width.
"""

import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from steer_llama.errors import FileError, LayerError, VectorError
from steer_llama.files import atomic_path
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.expanding import check_growth
from steer_llama.vectors.formats.known import known, vector_of
from steer_llama.vectors.formats.npy import MAGIC, array_of
from steer_llama.vectors.vector import Floats, SteeringVector

_DIRECTIONS, _LAYERS, _NORM, _METADATA = "directions", "layers", "residual_norm", "metadata"
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, LookupError, OverflowError)
"""What Python's zipfile raises over damaged archives (RuntimeError: encrypted ones, or unknown methods)."""
_ASSUMED = "the file does not name its layers: row i is taken for block i, at its output. Check that against its maker."


class _Clamped(io.FileIO):
    """Never allocates more than the file has left, whatever length is asked for."""

    def read(self, size: int | None = -1, /) -> Any:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _recognises(path: Path) -> bool:
    try:
        with _Clamped(path) as file, zipfile.ZipFile(file) as archive:
            return {f"{_DIRECTIONS}.npy", f"{_LAYERS}.npy"} <= set(archive.namelist())
    except _DAMAGED:
        return False


def _read(path: Path) -> Reading:
    try:
        with _Clamped(path) as file:
            bare = file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            arrays = {_DIRECTIONS: array_of(file.read(), "the array")} if bare else _arrays(file)
        return _reading(arrays)
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    except (VectorError, LayerError) as error:
        raise VectorError(f"{path}: {error}") from error
    except _DAMAGED as error:
        raise FileError(f"{path}: no NumPy file (.npz or .npy), or a damaged one ({error}).") from error


def _arrays(file: io.FileIO) -> dict[str, np.ndarray]:
    """What is wanted of an archive; the other members are not touched."""
    size = os.fstat(file.fileno()).st_size
    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(file) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        wanted = {name: name for name in (_DIRECTIONS, _LAYERS, _NORM, _METADATA) if name in members}
        if len(members) == 1:
            wanted = {_DIRECTIONS: next(iter(members))}
        if _DIRECTIONS not in wanted:
            raise FileError(f"has no array {_DIRECTIONS!r}; it holds {', '.join(sorted(members)[:5]) or 'nothing'}.")
        for name, member_name in wanted.items():
            member = members[member_name]
            if member.compress_size > size:
                raise FileError(f"{member_name!r} says it takes {member.compress_size:,} of the file's {size:,} bytes.")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise FileError(f"{member_name!r} is compressed in a way that numpy does not use.")
            check_growth(member.file_size, member.compress_size, repr(member_name))
            with archive.open(member) as opened:  # read by its length: without one, all is unpacked before it is cut
                found[name] = array_of(opened.read(member.file_size), repr(member_name))
    return found


def _reading(arrays: dict[str, np.ndarray]) -> Reading:
    directions, notes = arrays[_DIRECTIONS], []
    if directions.dtype.kind != "f" or directions.ndim != 2:
        found = f"{directions.dtype} of shape {directions.shape}"
        raise VectorError(f"the directions are {found}; expected floating-point numbers of shape (layers, width).")
    if directions.dtype.itemsize > 4:
        notes.append("it was kept in float64; here it is rounded to float32.")
    layers = arrays.get(_LAYERS)
    if layers is None:
        notes.append(_ASSUMED)
        layers = np.arange(len(directions))
    if layers.dtype.kind not in "iu" or layers.shape != (len(directions),):
        found = f"{layers.dtype} of shape {layers.shape}"
        raise VectorError(f"'layers' is {found}; expected whole numbers of shape ({len(directions)},).")
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused by the vector
        directions_LD: Floats = directions.astype(np.float32)
    numbers = [int(layer) for layer in layers]
    facts = _metadata(arrays.get(_METADATA))
    if (norms := arrays.get(_NORM)) is not None:
        if norms.dtype.kind != "f" or norms.shape != layers.shape:
            raise VectorError(f"'residual_norm' is {norms.dtype} of shape {norms.shape}; expected ({len(numbers)},).")
        facts["residual_norm"] = {str(layer): float(norm) for layer, norm in zip(numbers, norms, strict=True)}
    return Reading(vector_of(directions_LD, numbers, facts), FORMAT.name, tuple(notes))


def _metadata(array: np.ndarray | None) -> dict[str, Any]:
    if array is None:
        return {}
    try:
        facts = json.loads(str(array.item())) if array.dtype.kind == "U" and array.ndim == 0 else None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise VectorError("'metadata' is not a JSON object in a text.")
    return facts


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    facts = known(vector)
    facts.pop("residual_norm", None)
    arrays: dict[str, Any] = {
        _DIRECTIONS: np.ascontiguousarray(vector.directions_LD, dtype=np.float32),
        _LAYERS: np.asarray(vector.layers, dtype=np.int64),
        _METADATA: np.array(json.dumps(facts)),
    }
    if vector.residual_norm_L is not None:
        arrays[_NORM] = vector.residual_norm_L.astype(np.float32)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    return ()


FORMAT = VectorFormat(
    name="numpy",
    title="NumPy (.npz with directions and layers; bare arrays on request)",
    suffix=".npz",
    layer_convention="`layers` names the block of each row, at its output; without it row i is taken for block i",
    recognises=_recognises,
    read=_read,
    write=_write,
)
