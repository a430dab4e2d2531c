"""Reading traits and elicitations, ours and other people's, and splitting the questions once and for good."""

import hashlib
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from steer_llama.config import explain
from steer_llama.errors import RecordError
from steer_llama.files import read_json
from steer_llama.packaged import elicitation_path, packaged_traits, trait_path
from steer_llama.records import Elicitation, Record, Split, Trait

DEV_SHARE = 0.2
TEST_SHARE = 0.3
"""The rest, half of the questions, serves extraction."""

_R = TypeVar("_R", bound=Record)


def read_trait(trait: str | Path) -> Trait:
    """A trait by the name of a packaged one, or by the path of its JSON (which ends in ``.json``).

    Raises:
        ConfigError: there is no packaged trait of that name.
        FileError: the file is missing or not JSON.
        RecordError: a key is missing, empty or wrong.
    """
    path = Path(trait) if is_path(trait) else trait_path(str(trait))
    record = _read(path, Trait, "a trait: 'name' and 'trait_instruction'")
    for key in ("name", "trait_instruction"):
        if not getattr(record, key).strip():
            raise RecordError(f"{path}: {key!r} is empty; write it out.")
    return record


def read_elicitation(elicitation: str | Path) -> Elicitation:
    """An elicitation by the name of a packaged trait, or by path.

    Takes our files, the seed's (``eval prompt``) and those of Anthropic's persona vectors, which have the same keys.

    Raises:
        ConfigError: no elicitation of that name is packaged.
        FileError: the file is missing or not JSON.
        RecordError: a key is missing, empty or wrong.
    """
    path = Path(elicitation) if is_path(elicitation) else elicitation_path(str(elicitation))
    return _read(path, Elicitation, "an elicitation: 'questions', 'instruction' and 'eval_prompt'")


def is_path(name: str | Path) -> bool:
    """Whether a trait or an elicitation is given as a path and not as the name of a packaged one."""
    return isinstance(name, Path) or name.endswith(".json") or "/" in name


def packaged_name(trait: str) -> str | None:
    """The packaged trait that ``trait`` is, by name or as a file with the same content; ``None`` for one of the user's.

    Raises:
        FileError: the file is missing or not JSON.
        RecordError: it is no trait.
    """
    if not is_path(trait):
        return trait
    record = read_trait(trait)
    return next((name for name in packaged_traits() if read_trait(name) == record), None)


def with_split(elicitation: Elicitation, where: str = "the elicitation") -> Elicitation:
    """The elicitation with `split_of` it. Raises as that."""
    return elicitation.model_copy(update={"split": split_of(elicitation, where)})


def split_of(elicitation: Elicitation, where: str = "the elicitation") -> Split:
    """The elicitation's own split, or half / 20% / 30% of its questions for extract / dev / test.

    Which question goes where depends on the texts of the questions alone (the order of their SHA-256), so a file
    gives the same split everywhere. ``where`` names the file in errors.

    Raises:
        RecordError: there are fewer than three questions, or a part of the file's own split is empty.
    """
    if elicitation.split is not None:
        for part in ("extract", "dev", "test"):
            if not getattr(elicitation.split, part):
                raise RecordError(f"{where}: 'split.{part}' is empty; give it a question, or leave 'split' out.")
        return elicitation.split
    questions = elicitation.questions
    if len(questions) < 3:
        raise RecordError(
            f"{where}: 'questions' has {len(questions)}; expected at least 3, one each to extract from, "
            "to choose on (dev) and to prove on (test), and 40 for an estimate worth having."
        )
    ranked = sorted(questions, key=lambda question: hashlib.sha256(question.encode()).digest())
    extract, dev, _ = split_sizes(len(questions))
    parts = (set(ranked[:extract]), set(ranked[extract : extract + dev]), set(ranked[extract + dev :]))
    # In the file's order, so that the split reads like the questions.
    ordered = [tuple(question for question in questions if question in part) for part in parts]
    return Split(extract=ordered[0], dev=ordered[1], test=ordered[2])


def split_sizes(questions: int) -> tuple[int, int, int]:
    """How many of so many questions serve extraction, dev and test."""
    dev = max(1, round(questions * DEV_SHARE))
    test = max(1, round(questions * TEST_SHARE))
    return questions - dev - test, dev, test


def _read(path: Path, record: type[_R], what: str) -> _R:
    value = read_json(path, what)
    if not isinstance(value, dict):
        raise RecordError(f"{path}: a JSON {type(value).__name__} (expected an object: {what}).")
    try:
        return record.model_validate(value)
    except ValidationError as error:
        raise RecordError(f"{path}: {explain(error, record)} Expected {what}.") from error
