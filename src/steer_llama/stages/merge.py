"""``merge``: several ``filtered.json`` as one, never overwriting an answer silently."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from steer_llama.errors import ConflictError, InputError
from steer_llama.pairs import read_filtered

_SHOWN = 3
"""Conflicts that an error names."""


@dataclass(frozen=True)
class Merged:
    """Several files of pairs as one."""

    pairs: dict[str, dict[str, str]]
    """As in ``filtered.json``."""
    repeated: int
    """Questions that came again with the same answers."""
    conflicts: list[str]
    """Questions that came again with others, and were settled by ``keep``."""


def merge_filtered(paths: Sequence[Path], keep: Literal["first", "last"] | None = None) -> Merged:
    """Merge several ``filtered.json``; ``keep`` says whose answers stay where the files contradict each other.

    Raises:
        InputError: no file was given.
        ConflictError: the files' arms differ, or (without ``keep``) a question has different answers.
        FileError: a file is missing or of another format.
        RecordError: an entry is wrong.
    """
    if not paths:
        raise InputError("nothing to merge: name at least one filtered.json.")
    pairs: dict[str, dict[str, str]] = {}
    origin: dict[str, Path] = {}
    conflicts: dict[str, str] = {}
    repeated = 0
    keys: set[str] = set()
    for path in paths:
        entries = read_filtered(path)
        found = set(next(iter(entries.values())))
        keys = keys or found
        if found != keys:
            raise ConflictError(
                f"{path} has the keys {_listed(found)}, {paths[0]} has {_listed(keys)}. "
                "Merge files of the same two arms, or rename the keys."
            )
        for question, answers in entries.items():
            if question not in pairs:
                pairs[question], origin[question] = answers, path
            elif pairs[question] == answers:
                repeated += 1
            else:
                conflicts[question] = f"{question!r} ({origin[question]} and {path})"
                if keep == "last":
                    pairs[question], origin[question] = answers, path
    if conflicts and keep is None:
        shown = "; ".join(list(conflicts.values())[:_SHOWN])
        more = f"; and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
        raise ConflictError(
            f"{len(conflicts)} questions have different answers: {shown}{more}. "
            "Say whose answers stay with --keep first or --keep last, or delete some."
        )
    return Merged(pairs, repeated, list(conflicts))


def _listed(keys: set[str]) -> str:
    return " and ".join(repr(key) for key in sorted(keys))
