"""What lies where a file of activations is to be written: the same one, another one, or something else altogether."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import h5py

from steer_llama.activations.layout import DONE, FORMAT, Layout
from steer_llama.errors import ConflictError

Existing = Literal["refuse", "replace", "overwrite"]
"""What becomes of a file that lies there, when it was made with other settings: it is refused, or replaced.
``overwrite`` replaces a finished file of the same settings too. An unfinished one of the same settings always goes on.
"""
UNREADABLE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)
"""What h5py raises at bytes that are not what they should be."""
_WORDS = {
    "version": "the format's version",
    "layout": "layout",
    "model": "model",
    "model_fingerprint": "weights",
    "dtype": "dtype",
    "backend": "backend",
    "layers": "layers",
    "width": "width",
    "positions": "positions",
    "tokens": "single tokens",
    "pairs": "number of pairs",
    "texts_fingerprint": "texts",
}
_HASHES = ("model_fingerprint", "texts_fingerprint")


def is_finished(path: Path, layout: Layout, existing: Existing) -> bool:
    """Whether ``path`` is a finished file of this very layout, so that there is nothing to do.

    Raises:
        ConflictError: it is another file, and must not be replaced.
    """
    if not path.exists() or existing == "overwrite":
        return False
    facts = _finished_facts(path)
    if facts is not None and facts["fingerprint"] == layout.fingerprint:
        return True
    if existing == "refuse":
        what = (
            "no finished file of activations" if facts is None else f"made with other settings: {_told(facts, layout)}"
        )
        raise ConflictError(f"{path}: exists and is {what}. Name another file with -o, or replace it with --overwrite.")
    return False


def check_same(partial: Path, facts: Mapping[str, Any], layout: Layout, existing: Existing) -> bool:
    """Whether an unfinished file with the attributes ``facts`` is of this layout, so that it can go on.

    Raises:
        ConflictError: it is of another one, and must not be replaced.
    """
    if facts.get("fingerprint") == layout.fingerprint:
        return True
    if existing == "refuse":
        ours = facts.get("format") == FORMAT
        what = f"an extraction with other settings: {_told(facts, layout)}" if ours else "something else"
        raise ConflictError(
            f"{partial}: the unfinished file of {what}. "
            "Finish it with the settings that it was begun with, name another file with -o, or begin anew with "
            "--overwrite."
        )
    return False


def fingerprint_of(path: Path) -> str:
    """The fingerprint that a file of ours has, finished or not; empty where it is none, or not there."""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs["fingerprint"])
    except UNREADABLE:
        return ""


def _finished_facts(path: Path) -> dict[str, Any] | None:
    """The attributes of a finished file of activations that steer-llama wrote, in either layout."""
    try:
        with h5py.File(path, "r") as file:
            facts = dict(file.attrs)
            # The file of the other layout takes its name when it is whole; ours says so itself.
            whole = facts.get("layout") == "per_sample" or int(file[DONE][0]) == len(file["pairs/name"])
    except UNREADABLE:
        return None
    return facts if whole and facts.get("format") == FORMAT and "fingerprint" in facts else None


def _told(facts: Mapping[str, Any], layout: Layout) -> str:
    """In what an existing file differs, with both values where they say something."""
    told = []
    for name, here in layout.facts.items():
        there = str(facts.get(name, "not said"))
        if name == "model_fingerprint" and facts.get("model") != layout.model:
            continue  # the models' names say it
        if there != here:
            told.append(f"other {_WORDS[name]}" if name in _HASHES else f"{_WORDS[name]} {there}, now {here}")
    return "; ".join(told) or "the pairs have other names or marks"
