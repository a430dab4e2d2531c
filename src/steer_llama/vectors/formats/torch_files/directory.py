"""The zip archive around a file of torch's: where each of its entries lies.

A parser of our own, because two that disagree about one file are how such files do harm, and because Python's zipfile
allocates for whatever number of entries a file declares.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from steer_llama.errors import FileError

_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_MAX_DIRECTORY = 1 << 24
"""Bytes. A vector's file has a hundred entries of a hundred bytes each."""
_ENCRYPTED = 1


@dataclass(frozen=True)
class Entry:
    """One stored file of the archive: ``content[start:end]``."""

    start: int
    end: int
    crc32: int


class _Ends(NamedTuple):
    start: int
    size: int
    n_entries: int


def read_directory(content: memoryview) -> dict[str, Entry]:
    """Where each entry lies in the archive, by its name.

    Raises:
        FileError: no whole zip archive, or one with compressed, encrypted, repeated or overflowing entries, which torch
            never writes.
    """
    ends = _ends(content)
    entries: dict[str, Entry] = {}
    for name, entry in _entries(content, ends):
        if name in entries:
            raise FileError(f"its archive holds two entries of the name {name[:80]!r}; torch never writes that.")
        entries[name] = entry
    return entries


def _ends(content: memoryview) -> _Ends:
    """Where the directory lies; torch puts the 64-bit record before the short one, and no comment after it."""
    at = len(content) - _END.size
    if at < 0 or bytes(content[at : at + 4]) != b"PK\5\6":
        raise FileError("its zip archive has no end: the file is cut short, or something was added to it.")
    *_, count, size, start, comment = _END.unpack_from(content, at)
    if at >= _LOCATOR_64.size + _END_64.size:
        mark, _, where, _ = _LOCATOR_64.unpack_from(content, at - _LOCATOR_64.size)
        if mark == b"PK\6\7":
            at -= _LOCATOR_64.size + _END_64.size
            if where != at or bytes(content[at : at + 4]) != b"PK\6\6":
                raise FileError("the end of its zip archive is damaged.")
            *_, count, size, start = _END_64.unpack_from(content, at)
    if comment or size > _MAX_DIRECTORY or start + size != at:
        raise FileError("the end of its zip archive is damaged, or no end that torch writes.")
    return _Ends(start, size, count)


def _entries(content: memoryview, ends: _Ends) -> Iterator[tuple[str, Entry]]:
    at, limit, found = ends.start, ends.start + ends.size, 0
    while at < limit:
        if at + _ENTRY.size > limit:
            raise FileError("the directory of its zip archive is cut short.")
        mark, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, _, local = _ENTRY.unpack_from(content, at)
        after_name, after_extra = at + _ENTRY.size + lengths[0], at + _ENTRY.size + lengths[0] + lengths[1]
        if mark != b"PK\1\2" or after_extra + lengths[2] > limit:
            raise FileError("the directory of its zip archive is damaged.")
        name = bytes(content[at + _ENTRY.size : after_name])
        if method or flags & _ENCRYPTED:
            raise FileError(f"the entry {_shown(name)} is compressed or encrypted; torch.save only stores.")
        packed, size, local = _wide(bytes(content[after_name:after_extra]), (packed, size, local))
        if packed != size:
            raise FileError(f"the entry {_shown(name)} is stored but has two sizes, {packed} and {size}.")
        start = _data_start(content, local, name, ends.start)
        if start + size > ends.start:
            raise FileError(f"the entry {_shown(name)} claims {size} bytes, more than the file has.")
        yield name.decode("utf-8", "replace"), Entry(start, start + size, crc)
        at, found = after_extra + lengths[2], found + 1
    if found != ends.n_entries:
        raise FileError(f"its zip archive declares {ends.n_entries} entries and has {found}.")


def _wide(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """Sizes and place of an entry, where one of them does not fit 32 bits and stands among the extra fields."""
    packed, size, local = values
    if 0xFFFFFFFF not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        field = extra[at + 4 : at + 4 + length]
        if kind == 1:
            wide = iter([int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) // 8 * 8, 8)])
            size = next(wide, size) if size == 0xFFFFFFFF else size
            packed = next(wide, packed) if packed == 0xFFFFFFFF else packed
            local = next(wide, local) if local == 0xFFFFFFFF else local
        at += 4 + length
    return packed, size, local


def _data_start(content: memoryview, local: int, name: bytes, limit: int) -> int:
    """Where an entry's bytes begin: after its own header, which must tell the same name."""
    if local + _LOCAL.size <= limit:
        mark, *_, name_length, extra_length = _LOCAL.unpack_from(content, local)
        after = local + _LOCAL.size + name_length
        if mark == b"PK\3\4" and bytes(content[local + _LOCAL.size : after]) == name:
            return int(after + extra_length)
    raise FileError(f"the entry {_shown(name)} is not where the archive's directory says.")


def _shown(name: bytes) -> str:
    return repr(name[:80].decode("utf-8", "replace"))
