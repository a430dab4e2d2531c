"""A file that grows line by line and survives being killed: what arrived is never asked for again."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from filelock import BaseFileLock, FileLock, Timeout

from steer_llama.errors import ConflictError, RecordError, StorageError
from steer_llama.files import check_output, storage_errors


class Journal:
    """An append-only JSONL file of objects with a ``key``; every line is on the disk before `append` returns.

    Use it as a context manager, which keeps other processes away. A last line that was torn (the process was killed
    while writing) is passed over when reading and cut off before the next line is written. Of two lines with one key
    the first stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BaseFileLock | None = None
        self._file: BinaryIO | None = None
        self._keys: set[str] = set()
        self._whole_bytes: int | None = None
        """Length of the file up to its last whole line; ``None`` before it was read."""
        self._lacks_newline = False

    def __enter__(self) -> Self:
        """Keep every other process away from this journal.

        Raises:
            ConflictError: another one is at work on it.
            StorageError: its folder cannot be written.
        """
        check_output(self.path)
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise ConflictError(
                    f"{self.path}: another steer-llama is writing to it. Wait for it, or choose another -o."
                ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if self._lock is not None:
            # While it is held, and after the last write: whoever comes next makes a lock file of its own.
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()

    def __contains__(self, key: str) -> bool:
        """Whether a line with this key is there, once `load` was called."""
        return key in self._keys

    def load(self) -> list[dict[str, Any]]:
        """The file's objects, the first of each key; none when there is no file yet.

        Raises:
            RecordError: a line other than a torn last one is no JSON object with a string ``key``.
            StorageError: the path is a folder or a device.
        """
        if self.path.exists() and not self.path.is_file():
            raise StorageError(f"{self.path}: is a folder or a device; name a regular file.")
        self._keys, self._whole_bytes, self._lacks_newline = set(), 0, False
        rows: list[dict[str, Any]] = []
        if not self.path.exists():
            return rows
        with storage_errors(self.path), self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                whole = line.endswith(b"\n")
                row = _parse(line)
                if row is None and not whole:
                    break
                if row is None and line.strip():
                    raise RecordError(
                        f"{self.path}, line {number}: not a JSON object with a string 'key' (only the last line may be "
                        "incomplete). Mend or delete that line; what it answered is then asked again."
                    )
                self._whole_bytes += len(line)
                self._lacks_newline = not whole
                if row is not None and row["key"] not in self._keys:
                    self._keys.add(row["key"])
                    rows.append(row)
        return rows

    def append(self, row: dict[str, Any]) -> bool:
        """Add ``row``, which has a ``key``, and wait until it is on the disk; ``False`` when its key is there already.

        Raises:
            RecordError: the file that is there is broken (see `load`).
            StorageError: the disk is full or the file cannot be written; the lines before stay whole.
        """
        if self._whole_bytes is None:
            self.load()
        if row["key"] in self._keys:
            return False
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode()
        with storage_errors(self.path):
            file = self._file or self._open()
            try:
                _write_all(file, line)
                os.fsync(file.fileno())
            except OSError:
                # Leave no half line behind: a later run would have to guess what it was.
                os.ftruncate(file.fileno(), self._whole_bytes or 0)
                raise
        self._whole_bytes = (self._whole_bytes or 0) + len(line)
        self._keys.add(row["key"])
        return True

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> BinaryIO:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab", buffering=0)
        self._file = file
        os.ftruncate(file.fileno(), self._whole_bytes or 0)
        if self._lacks_newline:
            _write_all(file, b"\n")
            self._whole_bytes, self._lacks_newline = (self._whole_bytes or 0) + 1, False
        return file


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:  # neither JSON nor UTF-8
        return None
    return row if isinstance(row, dict) and isinstance(row.get("key"), str) else None


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write every byte: an unbuffered file may take only a part, most of all when the disk is nearly full."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
