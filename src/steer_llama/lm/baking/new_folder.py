"""A folder that appears whole under its name, or not at all."""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steer_llama.errors import StorageError
from steer_llama.files import storage_errors


def check_new_folder(out: Path) -> None:
    """Refuse a place where something is already, before the work and not after it.

    Raises:
        StorageError: there is a file, or a folder that is not empty.
    """
    with storage_errors(out):
        if out.is_dir() and any(out.iterdir()):
            raise StorageError(f"cannot write {out}: the folder is not empty. Name a new one with -o, or remove it.")
        if not out.is_dir() and (out.exists() or out.is_symlink()):
            raise StorageError(f"cannot write {out}: a file of that name is in the way. Name a new folder with -o.")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``out`` that takes its name on success and vanishes on failure.

    What earlier processes left when they were killed is cleared first: their folders are no longer locked.

    Raises:
        StorageError: ``out`` is there already, the disk is full, or the place cannot be written.
    """
    check_new_folder(out)
    out = Path(os.path.realpath(out))
    prefix = f".{out.name}.baking-"
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        for left in out.parent.glob(f"{_literal(prefix)}*"):
            with _locked(left) as is_mine:
                if is_mine:
                    shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
        try:
            with _locked(scratch):
                yield scratch
                scratch.chmod(0o777 & ~_umask())
                _sync(scratch)
                _rename(scratch, out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder's lock was free; it is ours meanwhile, and the system frees it when a process dies."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        is_mine = False
        with contextlib.suppress(OSError):  # held by a living process, or a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_mine = True
        yield is_mine
    finally:
        os.close(handle)


def _rename(scratch: Path, out: Path) -> None:
    try:
        scratch.replace(out)  # an empty folder gives way
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise StorageError(f"cannot write {out}: something else was written there meanwhile.") from error
        raise


def _sync(folder: Path) -> None:
    for place, _, files in os.walk(folder):
        for path in (Path(place), *(Path(place) / name for name in files)):
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)


def _literal(text: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
