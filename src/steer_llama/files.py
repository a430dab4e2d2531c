"""Reading and writing files so that a reader never meets half of one."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steer_llama.errors import FileError, RecordError, StorageError


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write ``path`` into a `StorageError` that says what to do."""
    try:
        yield
    except Exception as error:
        reason = storage_reason(error)
        if reason is None:
            raise
        raise StorageError(f"cannot write {path}: {reason}. What was finished before is kept.") from error


def storage_reason(error: Exception) -> str | None:
    """Why the operating system refused to write, and what to do; ``None`` where the error is of another kind."""
    reasons = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
        errno.EFBIG: "the file would be larger than the system allows; choose another place with -o",
        errno.EROFS: "the file system is read-only; choose another place with -o",
        errno.EACCES: "no permission; choose another place with -o",
        errno.EPERM: "no permission; choose another place with -o",
        errno.ENOTDIR: "a part of the path is a file, not a folder",
        errno.EISDIR: "it is a folder; name a file",
        errno.EEXIST: "a file of that name is in the way",
        errno.ENAMETOOLONG: "the name is too long",
    }
    if isinstance(error, OSError) and error.errno in reasons:
        return reasons[error.errno]
    # HDF5 and safetensors (whose error is no OSError) keep the text and drop the errno.
    if "No space left on device" in str(error):
        return reasons[errno.ENOSPC]
    return None


def check_output(path: Path) -> None:
    """Refuse a place that no file can be written to: before the work, not after hours of it.

    Raises:
        StorageError: ``path`` is a folder or a device, below a file, or in a folder that cannot be written.
    """
    with storage_errors(path):
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a device or another special file"
            raise StorageError(f"cannot write {path}: it is {kind}; name a regular file.")
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "", str(folder))
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, "", str(folder))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "", str(folder))


def check_not_over(out: Path, *given: Path) -> None:
    """Refuse to write over what is read: the new file seldom holds all that the old one does.

    Raises:
        StorageError: ``out`` is one of ``given``.
    """
    for path in given:
        if out.exists() and path.exists() and out.samefile(path):
            raise StorageError(f"cannot write {out}: it is what is read, {path}. Name another file.")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place on success and vanishes on failure.

    Raises:
        StorageError: the folder cannot be written, the disk is full, or ``path`` is no regular file.
    """
    with storage_errors(path):
        check_output(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all; emoji stay readable."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_text(path: Path, what: str, newline: str | None = None) -> str:
    """Read a text file; ``what`` names it in errors ("the pairs", "the configuration").

    With ``newline=""`` line ends stay as they are; else they become line feeds.

    Raises:
        FileError: it is missing, unreadable, empty, or not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileError(f"{path}: no such file (expected {what}). Check the path.") from error
    except IsADirectoryError as error:
        raise FileError(f"{path}: is a folder (expected {what}, a file).") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not UTF-8 text at byte {error.start} (expected {what}).") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from error
    if not text.strip():
        raise FileError(f"{path}: is empty (expected {what}).")
    return text


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Raises:
        FileError: as `read_text`, or it is not JSON (the place is named), or holds half a character.
    """
    try:
        value = json.loads(read_text(path, what), object_pairs_hook=_no_duplicate_keys)
    except json.JSONDecodeError as error:
        raise FileError(
            f"{path}: not JSON at line {error.lineno}, column {error.colno}: {error.msg} (expected {what})."
        ) from error
    except _DuplicateKeyError as error:
        raise FileError(f"{path}: the key {error.args[0]!r} stands twice in one object; keep one of them.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets without end
        raise FileError(f"{path}: JSON that cannot be read ({error}; expected {what}).") from error
    if half := _half_character(value):
        raise FileError(f"{path}: {half}")
    return value


class _DuplicateKeyError(Exception):
    pass


def _no_duplicate_keys(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object whose later key would silently replace an earlier one of another value."""
    result: dict[str, Any] = {}
    for key, value in items:
        if key in result and result[key] != value:
            raise _DuplicateKeyError(key)
        result[key] = value
    return result


def _half_character(value: Any) -> str | None:
    """What is wrong where an escape is half an emoji (a lone surrogate), which no tokenizer and no file can hold."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"half a character after {text[max(0, error.start - 30) : error.start]!r} (a lone surrogate); delete it."
    return None


def read_jsonl(path: Path, what: str) -> list[tuple[int, dict[str, Any]]]:
    """Read one JSON object a line, with the 1-based line numbers; blank lines are passed over.

    Raises:
        FileError: as `read_text`.
        RecordError: a line is not a JSON object, or an escape in it is half a character.
    """
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(read_text(path, what).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise RecordError(f"{path}, line {number}: not JSON: {error.msg} (expected {what}).") from error
        if not isinstance(row, dict):
            raise RecordError(f"{path}, line {number}: a JSON {type(row).__name__} (expected an object: {what}).")
        if half := _half_character(row):
            raise RecordError(f"{path}, line {number}: {half}")
        rows.append((number, row))
    return rows


def digest_file(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file's bytes as hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            if progress is not None:
                progress(len(block))
    return digest.hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
