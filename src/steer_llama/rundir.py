"""The run folder: where every file is, what is done, and for which settings it was done."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from steer_llama.errors import ConflictError, StorageError
from steer_llama.files import digest_file, digest_json, storage_errors, write_json

ELICITATION = "elicitation.json"
RESPONSES = "responses.jsonl"
RESULTS = "results.json"
FILTERED = "filtered.json"
ACTIVATIONS = "activations.h5"
VECTOR = "vector.safetensors"
SWEEP = "sweep.jsonl"
VERDICT = "verdict.json"
REPORT = "report.html"

_LEDGER = ".steer-llama.json"
_LOCK = ".steer-llama.lock"


@dataclass(frozen=True)
class Work:
    """What a stage is about to do: its settings and the state of what it reads."""

    stage: str
    settings: Any
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    amends: tuple[str, ...] = ()
    """Files of earlier stages that get an addition (the recommendation in the vector), and that stay theirs."""


class RunDir:
    """A folder that remembers which stage was finished with which settings on which inputs.

    A stage is done when the ledger holds its key (settings plus the digests of what it read) and its files still
    are what some finished stage left. The ledger is written last, so a stage that was killed is not done.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stages: dict[str, dict[str, Any]] = {}
        self._stats: dict[str, dict[str, Any]] = {}
        self._before: dict[str, str] = {}
        self._begun = ""

    def path(self, name: str) -> Path:
        """Where the file ``name`` is or will be."""
        return self.root / name

    def journals(self) -> list[Path]:
        """What chat models have answered so far, in this folder."""
        return sorted(self.root.glob("*.journal.jsonl"))

    @contextmanager
    def open(self) -> Iterator["RunDir"]:
        """Create the folder if needed, take its lock and read its ledger.

        Raises:
            ConflictError: another run is at work in the folder.
            StorageError: the folder cannot be written.
        """
        if self.root.exists() and not self.root.is_dir():
            raise StorageError(f"{self.root}: is a file; name a folder for the run.")
        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(str(self.root / _LOCK))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise ConflictError(
                    f"{self.root}: another steer-llama is at work in this folder. Wait for it, or choose another --out."
                ) from None
        try:
            for leftover in self.root.glob(".*.tmp"):
                leftover.unlink()  # of a run that was killed while it wrote
            self._load()
            yield self
        finally:
            lock.release()

    def is_done(self, work: Work) -> bool:
        """Whether ``work`` was finished before, with the same settings and inputs, and its files are intact."""
        entry = self._stages.get(work.stage)
        names = (*work.reads, *work.writes, *work.amends)
        if entry is None or any(not self.path(name).exists() for name in names):
            return False
        return (
            entry["key"] == self._key(work)
            and all(entry["writes"].get(name) == self._origin(name) for name in work.writes)
            and all(entry["amends"].get(name, {}).get("after") == self._digest(name) for name in work.amends)
        )

    def begin(self, work: Work) -> None:
        """Forget an earlier finish of this stage: from now on its files may change."""
        self._before = {name: self._origin(name) for name in work.amends}
        self._begun = self._key(work)
        entry = self._stages.get(work.stage)
        if entry is not None:
            # What it amended stays on record, or the file would look foreign and the stage that wrote it run again.
            entry["key"] = ""
            self._save()

    def finish(self, work: Work) -> None:
        """Mark ``work``, which was begun, as done. Comes last, after its files are whole."""
        self._stages[work.stage] = {
            "key": self._begun,
            "writes": {name: self._digest(name) for name in work.writes},
            "amends": {name: {"before": self._before[name], "after": self._digest(name)} for name in work.amends},
        }
        self._save()

    def _key(self, work: Work) -> str:
        reads = {name: self._origin(name) for name in (*work.reads, *work.amends)}
        return digest_json({"settings": work.settings, "reads": reads})

    def _origin(self, name: str) -> str:
        """The file's digest, as it was before a later stage amended it (what it says to its readers is the same)."""
        current = self._digest(name)
        for entry in self._stages.values():
            amended = entry["amends"].get(name)
            if amended and amended["after"] == current:
                return str(amended["before"])
        return current

    def _digest(self, name: str) -> str:
        """SHA-256 of a file, taken again only when its size or time has changed (activations may be many GB)."""
        path = self.path(name)
        stat = path.stat()
        known = self._stats.get(name)
        if known and (known["size"], known["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
            return str(known["digest"])
        digest = digest_file(path)
        self._stats[name] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "digest": digest}
        return digest

    def _load(self) -> None:
        path = self.path(_LEDGER)
        if not path.exists():
            return
        try:
            ledger = json.loads(path.read_text(encoding="utf-8"))
            self._stages = _checked(ledger["stages"], {"key": str, "writes": dict, "amends": dict})
            self._stats = _checked(ledger["stats"], {"size": int, "mtime_ns": int, "digest": str})
        except (json.JSONDecodeError, KeyError, TypeError, ValueError):
            # Written atomically, so only a foreign hand breaks it; redoing the stages is always right.
            self._stages, self._stats = {}, {}

    def _save(self) -> None:
        write_json(self.path(_LEDGER), {"stages": self._stages, "stats": self._stats})


def _checked(table: Any, shape: dict[str, type]) -> dict[str, dict[str, Any]]:
    """A part of the ledger; a `TypeError` or `KeyError` where it is not of our making."""
    for entry in dict(table).values():
        for key, kind in shape.items():
            if not isinstance(entry[key], kind):
                raise TypeError(key)
    return dict(table)


def free_bytes(path: Path) -> int:
    """Free space where ``path`` will be written, in bytes."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize
