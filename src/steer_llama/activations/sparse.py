"""Files for HDF5 to write to that are no files on a disk.

HDF5 must not meet a full disk itself: it then takes the whole process down (a segmentation fault in 2.0).
"""

import io
import os
from collections.abc import Iterator
from itertools import groupby
from typing import Any, BinaryIO

_PAGE = 4096


class SparseFile(io.RawIOBase):
    """Lets HDF5 lay out gigabytes in memory: only the pages that it touches are kept; the rest reads as zeros."""

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
            if (content := self._pages.get(page)) is None:
                content = self._pages[page] = bytearray(_PAGE) if count == _PAGE else self._absent(page)
            content[inside : inside + count] = view[begin : begin + count]
        self._position += len(view)
        self.size = max(self.size, self._position)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """As for any file."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self.size - self._position))
        for page, inside, begin, count in _pieces(self._position, length):
            content = self._pages.get(page)
            view[begin : begin + count] = (self._absent(page) if content is None else content)[inside : inside + count]
        self._position += length
        return length

    def _absent(self, page: int) -> bytearray:  # noqa: ARG002 - it is the same for every page
        """What a page holds that is not in memory."""
        return bytearray(_PAGE)


class SpillingFile(SparseFile):
    """Lets HDF5 write a file of any size in little memory: what it wrote goes to the disk with `spill`, by us."""

    def __init__(self, disk: io.FileIO) -> None:
        """Write to ``disk``, an empty file without a buffer, which can be read too."""
        super().__init__()
        self._disk = disk
        self._spilled = 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._pages) * _PAGE

    def spill(self) -> None:
        """Put what is in memory on the disk.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        for _, pages in groupby(enumerate(sorted(self._pages)), lambda place: place[1] - place[0]):
            run = [page for _, page in pages]
            self._disk.seek(run[0] * _PAGE)
            view = memoryview(b"".join(self._pages[page] for page in run))
            while view:
                view = view[self._disk.write(view) :]
            self._spilled = max(self._spilled, (run[-1] + 1) * _PAGE)
        self._pages.clear()

    def close_disk(self) -> None:
        """Put the rest on the disk, for good.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        self.spill()
        self._disk.truncate(self.size)
        os.fsync(self._disk.fileno())

    def _absent(self, page: int) -> bytearray:
        if page * _PAGE >= self._spilled:
            return bytearray(_PAGE)
        self._disk.seek(page * _PAGE)
        return bytearray(self._disk.read(_PAGE).ljust(_PAGE, b"\0"))


def _pieces(position: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    """Page, place in the page, place in the buffer and length of every piece of a range."""
    done = 0
    while done < length:
        page, inside = divmod(position + done, _PAGE)
        count = min(_PAGE - inside, length - done)
        yield page, inside, done, count
        done += count
