"""Reading a file of torch's: its value, and the numbers of its tensors."""

import mmap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from steer_llama.errors import FileError
from steer_llama.vectors.formats.torch_files.directory import Entry, read_directory
from steer_llama.vectors.formats.torch_files.interpreter import StoredTensor, interpret

_STORED_AS = {"float32": "f4", "float16": "f2", "bfloat16": "u2", "float64": "f8"}
_MAX_NUMBERS = 1 << 26
"""In all tensors that are fetched from a file; a vector for a model of 128 layers of 16,384 has two million."""
_HEAD = 256


class TorchFile:
    """A file of torch's: what it holds, and the way to the numbers."""

    value: Any
    """Dicts, lists, tuples, plain values, `Instance` and `StoredTensor`."""
    notes: list[str]
    """What fetching the numbers lost: a sentence each, without repeats."""

    def __init__(self, path: Path, content: memoryview) -> None:
        """Read all but the numbers.

        Raises:
            FileError: a damaged file, or one that holds more than tensors and plain values.
        """
        self.path, self.notes = path, []
        self._content = content
        self._n_fetched = 0
        self._checked: set[str] = set()
        with _named(path):
            self._entries = read_directory(content)
            pickles = [name for name in self._entries if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(pickles) != 1:
                raise FileError("a zip archive, but not one of torch.save's (which holds one data.pkl).")
            self._folder = pickles[0].removesuffix("data.pkl")
            big = f"{self._folder}byteorder" in self._entries and bytes(self._bytes("byteorder")) == b"big"
            self._byte_order = ">" if big else "<"
            self.value = interpret(bytes(self._bytes("data.pkl")))

    def float32(self, tensor: StoredTensor) -> npt.NDArray[np.float32]:
        """A tensor's numbers, as a new array. A number too large for float32 becomes infinity.

        Raises:
            FileError: the file has not the bytes that it declares, or they are damaged, or too many, or none.
        """
        with _named(self.path):
            view = self._view(tensor)
        if tensor.dtype == "bfloat16":
            return (view.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            numbers: npt.NDArray[np.float32] = view.astype(np.float32)
        rounded = "The numbers are float64 in the file and were rounded to float32."
        if tensor.dtype == "float64" and rounded not in self.notes and not np.array_equal(numbers, view):
            self.notes.append(rounded)
        return numbers

    def _view(self, tensor: StoredTensor) -> npt.NDArray[Any]:
        self._n_fetched += tensor.n_numbers
        if self._n_fetched > _MAX_NUMBERS:
            raise FileError(f"its tensors have more than {_MAX_NUMBERS} numbers, which is no steering vector.")
        if tensor.n_numbers == 0:
            raise FileError(f"a tensor of shape {tensor.shape} has no numbers.")
        dtype = np.dtype(self._byte_order + _STORED_AS[tensor.dtype])
        stored = self._bytes(f"data/{tensor.key}")
        if len(stored) < tensor.n_stored * dtype.itemsize:
            raise FileError(
                f"a tensor declares {tensor.n_stored} stored numbers of {tensor.dtype}, but the file has "
                f"{len(stored)} bytes of them."
            )
        # The stride of an axis of one means nothing, and may be too large for an array's.
        strides = [
            dtype.itemsize * (step if n > 1 else 0) for n, step in zip(tensor.shape, tensor.strides, strict=True)
        ]
        return np.ndarray(tensor.shape, dtype, stored, tensor.offset * dtype.itemsize, strides)

    def _bytes(self, name: str) -> memoryview:
        entry = self._entries.get(self._folder + name)
        if entry is None:
            raise FileError(f"its archive lacks {name[:80]!r}, which its pickle names.")
        data = self._content[entry.start : entry.end]
        if name not in self._checked and not _intact(data, entry):
            raise FileError(
                f"{name[:80]!r} is damaged: it does not have the checksum that the archive tells. (A file saved under "
                "torch.serialization.set_crc32_options(False) has none: load it in torch and save it again.)"
            )
        self._checked.add(name)
        return data


def is_torch_file(path: Path) -> bool:
    """Whether a file begins like one of torch's, of today or from before 1.6, or like a plain pickle."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return _is_pickle(head) or (head.startswith(b"PK\3\4") and b"/data.pkl" in head)


def peek(path: Path) -> TorchFile | None:
    """A file of torch's, or ``None`` where it is not one, or none that can be read."""
    try:
        return read_torch(path) if is_torch_file(path) else None
    except FileError:
        return None


def read_torch(path: Path) -> TorchFile:
    """Open a file as `torch.save` writes it, and run nothing in it.

    Raises:
        FileError: missing, damaged, of an older kind, or with more in it than tensors and plain values.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if _is_pickle(head):
                raise FileError(
                    f"{path}: a pickle that is not in a zip archive (torch.save's files from before 1.6, or "
                    "pickle.dump's). Such a file is a program, and was not run. Where you trust it, load it (with "
                    "torch.load or pickle.load) and save it again with torch.save."
                )
            if not head.startswith(b"PK\3\4"):
                raise FileError(f"{path}: not a file of torch.save's (it does not begin as a zip archive).")
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from error
    return TorchFile(path, content)


def _is_pickle(head: bytes) -> bool:
    """A pickle's mark and protocol; in safetensors, the bytes after such a pair are a length's zeros."""
    return head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5") and any(head[2:8])


def _intact(data: memoryview, entry: Entry) -> bool:
    return zlib.crc32(data) == entry.crc32


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
