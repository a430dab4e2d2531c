"""A file in memory that takes room only for what was written."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

_PAGE = 4096


class SparseFile(io.RawIOBase):
    """Lets HDF5 lay out gigabytes without a disk: only the pages that it touches are kept; the rest reads as zeros.

    HDF5 must not meet a full disk itself: it then takes the whole process down (a segmentation fault in 2.0).
    """

    def __init__(self) -> None:
        self.size = 0
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def write_to(self, file: BinaryIO) -> None:
        """Copy the content into an empty file on disk, holes included."""
        file.truncate(self.size)
        for page, content in sorted(self._pages.items()):
            file.seek(page * _PAGE)
            file.write(content[: self.size - page * _PAGE])

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As for any file."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        """As for any file."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """As for any file; growing costs nothing."""
        self.size = self._position if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        """As for any file."""
        view = memoryview(data).cast("B")
        for page, inside, begin, count in _pieces(self._position, len(view)):
            content = self._pages.setdefault(page, bytearray(_PAGE))
            content[inside : inside + count] = view[begin : begin + count]
        self._position += len(view)
        self.size = max(self.size, self._position)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """As for any file."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self.size - self._position))
        for page, inside, begin, count in _pieces(self._position, length):
            view[begin : begin + count] = self._pages.get(page, bytes(_PAGE))[inside : inside + count]
        self._position += length
        return length


def _pieces(position: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    """Page, place in the page, place in the buffer and length of every piece of a range."""
    done = 0
    while done < length:
        page, inside = divmod(position + done, _PAGE)
        count = min(_PAGE - inside, length - done)
        yield page, inside, done, count
        done += count
