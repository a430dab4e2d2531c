"""What a GGUF file says of itself: its values, and where its tensors lie.

The ``gguf`` package's own reader believes a file: it goes round as often as a count says, even past the file's end, and
makes an object of each element of an array. Here every count is held against the bytes that are left before anything is
made of it. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from steer_llama.errors import FileError

Scalar = bool | int | float
Value = Scalar | str | tuple[Scalar, ...] | None
"""``None`` stands for an array of strings, or a long one: a model's vocabulary has them, and no vector."""

MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST_HEADER = 1 << 28
_MOST_ENTRIES = 1 << 16
"""Values, and tensors; llama.cpp's largest models have some thousands."""
_MOST_STRINGS = 2_000_000
"""In arrays, all of them together; the largest vocabularies have some hundred thousands."""
_LONGEST_ARRAY = 1 << 16
_LONGEST_NAME = (1 << 16) - 1
"""Of keys, as the format says, and of tensors."""
_MOST_AXES = 4
_ALIGNMENT = "general.alignment"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file."""

    name: str
    shape: tuple[int, ...]
    """The innermost axis first, as the file has it."""
    kind: int
    """ggml's number of the type of its elements."""
    start: int
    """Its first byte, from the file's beginning."""


@dataclass(frozen=True)
class Header:
    """What stands before the tensors' data."""

    values: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    size: int
    """Bytes of the whole file."""


def is_gguf(path: Path) -> bool:
    """Whether a file begins as a GGUF file does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_header(path: Path) -> Header:
    """Read all but the tensors' data; takes a second or two at most, and no more memory than the header has bytes.

    Raises:
        FileError: it cannot be opened, is no GGUF file, or is damaged.
    """
    with _Cursor(path) as cursor:
        if cursor.take(len(MAGIC), "its mark") != MAGIC:
            raise FileError(f"{path}: not a GGUF file (it does not begin with {MAGIC.decode()!r}).")
        version = cursor.number("I")
        if version not in (2, 3):
            raise FileError(f"{path}: GGUF of version {version}; expected 2 or 3, little-endian.")
        n_tensors, n_values = cursor.count("tensors", 24), cursor.count("values", 13)
        values: dict[str, Value] = {}
        for _ in range(n_values):
            key = cursor.name()
            if key in values:
                raise FileError(f"{path}: damaged: the key {key!r} stands twice.")
            values[key] = cursor.value()
        tensors = [cursor.tensor() for _ in range(n_tensors)]
        data = _aligned(path, cursor.at, values.get(_ALIGNMENT, 32))
    if len({tensor.name for tensor in tensors}) != n_tensors:
        raise FileError(f"{path}: damaged: two tensors have one name.")
    placed = (Tensor(tensor.name, tensor.shape, tensor.kind, data + tensor.start) for tensor in tensors)
    return Header(values, tuple(placed), cursor.size)


def _aligned(path: Path, at: int, alignment: Value) -> int:
    if not isinstance(alignment, int) or not 0 < alignment <= _LONGEST_HEADER or alignment & (alignment - 1):
        raise FileError(f"{path}: damaged: {_ALIGNMENT} is {alignment!r}; expected a power of two.")
    return at + -at % alignment


class _Cursor:
    """Goes through a header, and never past the file's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.at = 0
        self._strings = 0
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise FileError(f"{path}: cannot be read ({error.strerror}).") from error
        self.size = os.fstat(self._file.fileno()).st_size
        self._end = min(self.size, _LONGEST_HEADER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def take(self, size: int, what: str) -> bytes:
        self._check(size, what)
        try:
            content = self._file.read(size)
        except OSError as error:
            raise FileError(f"{self._path}: cannot be read ({error.strerror}).") from error
        if len(content) != size:
            raise FileError(f"{self._path}: became shorter while it was read.")
        self.at += size
        return content

    def number(self, code: str) -> int:
        return int(self._scalars(code, 1)[0])

    def count(self, what: str, at_least: int) -> int:
        """How many entries follow; ``at_least`` bytes each."""
        count = self.number("Q")
        self._check(count * at_least, f"{count} {what}")
        if count > _MOST_ENTRIES:
            raise FileError(f"{self._path}: {count} {what}; at most {_MOST_ENTRIES} are read.")
        return count

    def name(self) -> str:
        size = self.number("Q")
        if size > _LONGEST_NAME:
            raise FileError(f"{self._path}: damaged: a name of {size} bytes at byte {self.at}.")
        return self._text(size)

    def _text(self, size: int) -> str:
        try:
            return self.take(size, "a text").decode()
        except UnicodeDecodeError as error:
            raise FileError(f"{self._path}: damaged: a text that is not UTF-8, before byte {self.at}.") from error

    def value(self) -> Value:
        kind = self.number("I")
        if kind == _STRING:
            return self._text(self.number("Q"))
        if kind == _ARRAY:
            return self._array()
        return self._scalars(self._code(kind), 1)[0]

    def tensor(self) -> Tensor:
        """A tensor, whose start is still counted from where the data begin."""
        name = self.name()
        n_axes = self.number("I")
        if n_axes > _MOST_AXES:
            raise FileError(f"{self._path}: damaged: tensor {name!r} has {n_axes} axes; expected {_MOST_AXES} at most.")
        shape = tuple(map(int, self._scalars("Q", n_axes)))
        return Tensor(name, shape, self.number("I"), self.number("Q"))

    def _array(self) -> Value:
        kind, count = self.number("I"), self.number("Q")
        if kind == _STRING:
            self._skip_strings(count)
            return None
        code = self._code(kind)
        size = count * struct.calcsize(code)
        if count <= _LONGEST_ARRAY:
            return self._scalars(code, count)
        self._skip(size, f"an array of {count}")
        return None

    def _skip_strings(self, count: int) -> None:
        self._check(count * 8, f"{count} texts")
        self._strings += count
        if self._strings > _MOST_STRINGS:
            raise FileError(f"{self._path}: more than {_MOST_STRINGS} texts in its header, which no vector has.")
        # The loop of a model's vocabulary, so no calls of our own in it.
        for _ in range(count):
            length = int.from_bytes(self._file.read(8), "little")
            self.at += 8
            if length > self._end - self.at:
                self._check(length, "a text")
            if length:
                self._file.seek(length, os.SEEK_CUR)
                self.at += length

    def _skip(self, size: int, what: str) -> None:
        self._check(size, what)
        self.at += size
        self._file.seek(self.at)

    def _code(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise FileError(f"{self._path}: damaged: a value of type {kind}, which no vector has, at byte {self.at}.")
        return _SCALARS[kind]

    def _scalars(self, code: str, count: int) -> tuple[Scalar, ...]:
        layout = f"<{count}{code}"
        return struct.unpack(layout, self.take(struct.calcsize(layout), "a value"))

    def _check(self, size: int, what: str) -> None:
        left = self._end - self.at
        if size > left:
            limit = "" if self._end == self.size else f" of the {_LONGEST_HEADER >> 20} MiB that a header may have"
            raise FileError(
                f"{self._path}: cut off or damaged: {what} at byte {self.at}, where {left} bytes are left{limit}."
            )
