"""Writing a file that `torch.load` reads: tensors of float32 in dicts or in an object of a named class.

Written by hand, so that an object's class need not be installed, torch need not be imported, and one value is always
the same file.
"""

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from steer_llama.files import atomic_path
from steer_llama.vectors.formats.torch_files.interpreter import Instance

_ALIGNMENT = 64
"""Bytes; what torch aligns its storages to, so that they can be mapped into memory."""
_FOLDER = "archive/"


def write_torch(path: Path, value: Any) -> None:
    """Write ``value``: a float32 array, text, a whole number of 32 bits, a dict or an `Instance` of these.

    Raises:
        StorageError: the place cannot be written.
    """
    storages: list[npt.NDArray[np.float32]] = []
    pickled = pickle.PROTO + b"\2" + _pickled(value, storages) + pickle.STOP
    entries = {"data.pkl": pickled, "byteorder": b"little"}
    with atomic_path(path) as temporary, temporary.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            _add(archive, file.tell(), name, data)
        for key, array in enumerate(storages):
            _add(archive, file.tell(), f"data/{key}", array.tobytes())
        _add(archive, file.tell(), "version", b"3\n")


def _add(archive: zipfile.ZipFile, at: int, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(_FOLDER + name)
    padding = -(at + 30 + len(entry.filename) + 4) % _ALIGNMENT
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(entry, data)


def _pickled(value: Any, storages: list[npt.NDArray[np.float32]]) -> bytes:
    match value:
        case str():
            text = value.encode()
            return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
        case int():
            return pickle.BININT + struct.pack("<i", value)
        case tuple():
            return pickle.MARK + b"".join(_pickled(item, storages) for item in value) + pickle.TUPLE
        case dict():
            items = b"".join(_pickled(part, storages) for item in value.items() for part in item)
            return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
        case Instance():
            new = _global(*value.name.rsplit(".", 1)) + pickle.EMPTY_TUPLE + pickle.NEWOBJ
            return new + _pickled(value.state, storages) + pickle.BUILD
        case np.ndarray():
            return _tensor(value, storages)
    raise TypeError(type(value))


def _tensor(array: npt.NDArray[np.float32], storages: list[npt.NDArray[np.float32]]) -> bytes:
    storages.append(np.ascontiguousarray(array, "<f4"))
    strides = tuple(stride // 4 for stride in storages[-1].strides)
    key = str(len(storages) - 1)
    parts = (
        _global("torch._utils", "_rebuild_tensor_v2"),
        pickle.MARK,
        pickle.MARK,
        _pickled("storage", storages),
        _global("torch", "FloatStorage"),
        *(_pickled(item, storages) for item in (key, "cpu", array.size)),
        pickle.TUPLE,
        pickle.BINPERSID,
        *(_pickled(item, storages) for item in (0, array.shape, strides)),
        pickle.NEWFALSE,
        _global("collections", "OrderedDict"),
        pickle.EMPTY_TUPLE,
        pickle.REDUCE,
        pickle.TUPLE,
        pickle.REDUCE,
    )
    return b"".join(parts)


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()
