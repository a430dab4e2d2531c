"""``filtered.json``: the pairs that were kept, in the seed's format."""

from pathlib import Path

from steer_llama.errors import FileError, RecordError
from steer_llama.pairs.arms import SUFFIX, text_of
from steer_llama.pairs.results import read_entries

WHAT = "filtered pairs: an object of questions, each with two keys that end in '_response'"


def read_filtered(path: Path) -> dict[str, dict[str, str]]:
    """The two answers by question, under the file's own keys (the same two in every entry).

    Raises:
        FileError: the file is missing, empty, not JSON, or is a results.json that was not filtered yet.
        RecordError: an entry has other keys than the first, or an answer is no text.
    """
    entries = read_entries(path, WHAT)
    keys: tuple[str, ...] = ()
    answers: dict[str, dict[str, str]] = {}
    for question, entry in entries.items():
        where = f"{path}, question {question!r}"
        refuse_unfiltered(path, entry)
        found = tuple(key for key in entry if key.endswith(SUFFIX))
        if len(found) != 2:
            shown = ", ".join(map(repr, entry)) or "none"
            raise RecordError(f"{where}: expected two keys that end in '{SUFFIX}', found {shown}.")
        keys = keys or found
        if set(found) != set(keys):
            raise RecordError(f"{where}: its keys are {_shown(found)}, those of the entries before {_shown(keys)}.")
        answers[question] = {key: text_of(entry, key, where) for key in keys}
    return answers


def refuse_unfiltered(path: Path, entry: dict[str, object]) -> None:
    """Refuse a ``results.json``: taking all of it would silently undo the filter.

    Raises:
        FileError: the entry has a ``score_difference``.
    """
    if "score_difference" in entry:
        raise FileError(
            f"{path}: is a results.json (it has 'score_difference'), expected a filtered.json. "
            f"Run `steer-llama filter {path}` first; --threshold 0 --direction both keeps nearly all of it."
        )


def _shown(keys: tuple[str, ...]) -> str:
    return " and ".join(map(repr, keys))
