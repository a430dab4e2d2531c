"""Files of torch's put together by hand, for what `torch.save` would not write."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np


def global_(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return pickle.BINUNICODE + len(value.encode()).to_bytes(4, "little") + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(data)]) + data


def tuple_(*parts: bytes) -> bytes:
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def tensor(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    stored: int,
    offset: int = 0,
    key: str = "0",
    storage: str = "torch.FloatStorage",
) -> bytes:
    place = tuple_(text("storage"), global_(storage), text(key), text("cpu"), number(stored)) + pickle.BINPERSID
    hooks = global_("collections.OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    sizes = tuple_(*map(number, shape)), tuple_(*map(number, strides))
    arguments = tuple_(place, number(offset), *sizes, pickle.NEWFALSE, hooks)
    return global_("torch._utils._rebuild_tensor_v2") + arguments + pickle.REDUCE


def program(*steps: bytes) -> bytes:
    return pickle.PROTO + b"\2" + b"".join(steps) + pickle.STOP


def torch_zip(
    path: Path,
    pickled: bytes,
    *storages: np.ndarray,
    method: int = zipfile.ZIP_STORED,
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, array in enumerate(storages):
            archive.writestr(f"archive/data/{key}", array.tobytes())
        for name, content in more.items():
            archive.writestr(f"archive/{name}", content)
    return path
