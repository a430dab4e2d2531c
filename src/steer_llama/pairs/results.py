"""``results.json``: every question with both answers, their scores, and why the pair was kept or dropped."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from steer_llama.config import explain
from steer_llama.errors import ConflictError, FileError, RecordError
from steer_llama.files import read_json, write_json
from steer_llama.pairs.arms import SUFFIX, Arms, find_arms, known_order, text_of
from steer_llama.records import Result

_WHAT = "results: an object of questions, each with both arms' answers and 'score_difference'"
_ROUNDING_POINTS = 1.0
"""A stored difference may be rounded to whole points."""

_JUDGED = ("coherence", "score_spread", "score_mass")
"""What a judge may say of each arm's answer beside the score; written only where it is known."""


@dataclass(frozen=True)
class ReadResults:
    """What a ``results.json`` holds."""

    results: list[Result]
    arms: Arms


def write_results(path: Path, results: Iterable[Result], source: str, target: str) -> None:
    """Write ``results.json``; the keys of the answers and scores begin with the arms' names.

    Raises:
        ConflictError: a question stands in the results twice.
        StorageError: the file cannot be written.
    """
    entries: dict[str, dict[str, Any]] = {}
    for result in results:
        _claim(entries, result.question, path)
        entries[result.question] = {
            f"{source}{SUFFIX}": result.source_response,
            f"{target}{SUFFIX}": result.target_response,
            "score_difference": result.score_difference,
            f"{source}_score": result.source_score,
            f"{target}_score": result.target_score,
            **_known(result, source, target),
            "split": result.split,
            "kept": result.kept,
            "reason": result.reason,
        }
    write_json(path, entries)


def write_filtered(path: Path, results: Iterable[Result], source: str, target: str) -> None:
    """Write ``filtered.json`` in the seed's format: the question and the two answers, and nothing else.

    Raises:
        ConflictError: a question stands in the results twice.
        StorageError: the file cannot be written.
    """
    entries: dict[str, dict[str, Any]] = {}
    for result in results:
        _claim(entries, result.question, path)
        entries[result.question] = {
            f"{source}{SUFFIX}": result.source_response,
            f"{target}{SUFFIX}": result.target_response,
        }
    write_json(path, entries)


def read_results(path: Path, source: str | None = None, target: str | None = None) -> ReadResults:
    """Read ``results.json``, ours or the seed's (which has the answers and ``score_difference`` only).

    Where both scores are there, the difference is theirs; where only the difference is, it is source minus target.

    Raises:
        ConfigError: the names are not given and the keys do not tell which arm is the source.
        FileError: the file is missing, empty, not JSON, or has no two arms.
        RecordError: an entry is wrong; the question and the key are named.
    """
    entries = read_entries(path, _WHAT)
    arms = find_arms(path, entries.values(), source, target)
    results = [_result(f"{path}, question {question!r}", question, entry, arms) for question, entry in entries.items()]
    return ReadResults(results, arms)


def read_entries(path: Path, what: str) -> dict[str, dict[str, Any]]:
    """An object of objects by question; ``what`` names it in errors.

    Raises:
        FileError: the file is missing, empty, not JSON, or no object with entries.
        RecordError: an entry is no object, or its question is empty.
    """
    value = read_json(path, what)
    if not isinstance(value, dict):
        raise FileError(f"{path}: a JSON {type(value).__name__} (expected {what}).")
    if not value:
        raise FileError(f"{path}: holds no questions (expected {what}).")
    for number, (question, entry) in enumerate(value.items(), start=1):
        if not question.strip():
            raise RecordError(f"{path}, entry {number}: its key, the question, is empty.")
        if not isinstance(entry, dict):
            raise RecordError(f"{path}, question {question!r}: a JSON {type(entry).__name__} (expected an object).")
    return value


def _result(where: str, question: str, entry: Mapping[str, Any], arms: Arms) -> Result:
    values = {
        "question": question,
        "source_response": text_of(entry, arms.source + SUFFIX, where),
        "target_response": text_of(entry, arms.target + SUFFIX, where),
        "source_score": entry.get(f"{arms.source}_score"),
        "target_score": entry.get(f"{arms.target}_score"),
        **{
            f"{role}_{more}": entry.get(f"{name}_{more}")
            for role, name in (("source", arms.source), ("target", arms.target))
            for more in _JUDGED
        },
        "score_difference": entry.get("score_difference"),
        "split": entry.get("split"),
        "kept": entry.get("kept"),
        "reason": entry.get("reason"),
    }
    try:
        result = Result.model_validate(values)
    except ValidationError as error:
        raise RecordError(f"{where}: {explain(error, Result)}") from error
    return result.model_copy(update={"score_difference": _difference(where, result, known_order(arms))})


def _difference(where: str, result: Result, order: int) -> float | None:
    stored = result.score_difference
    for score in (stored, result.source_score, result.target_score):
        if score is not None and not math.isfinite(score):
            raise RecordError(f"{where}: a score is {score}, expected a number, or null for unscored.")
    if result.source_score is None or result.target_score is None:
        return stored if stored is None else order * stored
    difference = result.source_score - result.target_score
    # The sign is not compared: the names may have been given the other way round.
    if stored is not None and abs(abs(stored) - abs(difference)) > _ROUNDING_POINTS:
        raise RecordError(
            f"{where}: 'score_difference' is {stored:g}, but the scores are {result.source_score:g} and "
            f"{result.target_score:g}. Mend one of them, or judge again."
        )
    return difference


def _known(result: Result, source: str, target: str) -> dict[str, float]:
    """What a judge said beside the scores, by the file's keys."""
    found = {
        f"{name}_{more}": getattr(result, f"{role}_{more}")
        for more in _JUDGED
        for role, name in (("source", source), ("target", target))
    }
    return {key: value for key, value in found.items() if value is not None}


def _claim(entries: Mapping[str, Any], question: str, path: Path) -> None:
    if question in entries:
        raise ConflictError(f"cannot write {path}: the question {question!r} stands there twice; keep one of them.")
