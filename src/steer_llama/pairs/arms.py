"""Which key of an entry is the source's answer and which is the target's."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from steer_llama.errors import ConfigError, FileError, RecordError

SUFFIX = "_response"
_KNOWN = (("pi", "llama"), ("source", "target"))


class Arms(NamedTuple):
    """The names of the two arms: the prefixes of their keys."""

    source: str
    target: str


def find_arms(path: Path, entries: Iterable[Mapping[str, Any]], source: str | None, target: str | None) -> Arms:
    """The arms' names: as given, or from the keys that end in ``_response``.

    Raises:
        ConfigError: the keys do not tell which arm is the source; they are named.
        FileError: the entries do not have two such keys, or have none of the given names.
    """
    found = sorted({key.removesuffix(SUFFIX) for entry in entries for key in entry if key.endswith(SUFFIX)})
    shown = ", ".join(repr(name + SUFFIX) for name in found) or "none"
    for name in (source, target):
        if name is not None and name not in found:
            raise FileError(f"{path}: no key {name + SUFFIX!r}; found {shown}.")
    if source is not None and source == target:
        raise ConfigError(f"source and target are both {source!r}; name two different arms of {path}.")
    if source is not None and target is not None:
        return Arms(source, target)
    if len(found) < 2:
        raise FileError(f"{path}: expected two keys that end in '{SUFFIX}' in every entry, found {shown}.")
    given = source or target
    if given is not None and len(found) == 2:
        (other,) = (name for name in found if name != given)
        return Arms(given, other) if source is not None else Arms(other, given)
    for known in _KNOWN:
        if given is None and set(known) == set(found):
            return Arms(*known)
    raise ConfigError(
        f"{path}: cannot tell which arm is the source and which the target; found {shown}. "
        "Pass the names of both, without the '_response'."
    )


def known_order(arms: Arms) -> int:
    """−1 when the two are a known pair the wrong way round (the file's own difference is then target − source)."""
    return -1 if (arms.target, arms.source) in _KNOWN else 1


def text_of(entry: Mapping[str, Any], key: str, where: str) -> str:
    """The text under ``key``; ``where`` names the record in errors.

    Raises:
        RecordError: it is missing or no text.
    """
    if key not in entry:
        there = ", ".join(repr(name) for name in entry) or "none"
        raise RecordError(f"{where}: the key {key!r} is missing; found {there}.")
    value = entry[key]
    if not isinstance(value, str):
        found = "null" if value is None else f"a JSON {type(value).__name__}"
        raise RecordError(f"{where}: {key!r} is {found}, expected a text.")
    return value
