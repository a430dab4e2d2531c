"""Reading pairs to extract from, whoever wrote them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steer_llama.errors import ConfigError, FileError, RecordError
from steer_llama.files import read_json, read_jsonl, read_text
from steer_llama.pairs.arms import SUFFIX, find_arms, text_of
from steer_llama.pairs.filtered import refuse_unfiltered
from steer_llama.pairs.preferences import pair_of_row
from steer_llama.pairs.results import read_entries
from steer_llama.records import Message, Pair

_WHAT = "pairs: a filtered.json, or DPO rows with 'chosen' and 'rejected' as JSON or JSONL"


@dataclass(frozen=True)
class ReadPairs:
    """What a file of pairs gave."""

    pairs: list[Pair]
    left_out: list[tuple[str, str]]
    """Name and reason of every pair that cannot be used."""


def read_pairs(
    path: Path, chosen_field: str | None = None, rejected_field: str | None = None, system_prompt: str = ""
) -> ReadPairs:
    """Read a ``filtered.json``, or DPO rows (a JSON array or JSONL) as TRL writes them.

    Args:
        path: The file.
        chosen_field: Key of the answer that has the style; default: ``chosen``, or the source's ``…_response``.
        rejected_field: Key of the other answer; default: ``rejected``, or the target's ``…_response``.
        system_prompt: Put before prompts that have no system message.

    Raises:
        ConfigError: the two fields are the same, or the keys do not tell which arm is the source.
        FileError: the file is missing, empty, of another format, or no usable pair remains.
        RecordError: a record has another shape; the record and the key are named.
    """
    if chosen_field is not None and chosen_field == rejected_field:
        raise ConfigError(f"chosen_field and rejected_field are both {chosen_field!r}; name two different keys.")
    rows = _rows(path, chosen_field or "chosen", rejected_field or "rejected")
    read = _of_filtered(path, chosen_field, rejected_field) if rows is None else rows
    pairs: list[Pair] = []
    left_out: list[tuple[str, str]] = []
    for pair in read:
        reason = _why_not(pair)
        if reason is None:
            pairs.append(_with_system(pair, system_prompt))
        else:
            left_out.append((pair.name, reason))
    if not pairs and not left_out:
        raise FileError(f"{path}: holds no pairs (expected {_WHAT}).")
    if not pairs:
        reasons = [reason for _, reason in left_out]
        counts = ", ".join(f"{reasons.count(reason)} × {reason}" for reason in dict.fromkeys(reasons))
        raise FileError(f"{path}: none of its {len(left_out)} pairs can be used ({counts}). Give other pairs.")
    return ReadPairs(pairs, left_out)


def _rows(path: Path, chosen: str, rejected: str) -> Iterator[Pair] | None:
    """The rows of DPO data; ``None`` when the file is an object of questions."""
    text = read_text(path, _WHAT).lstrip()
    if text.startswith("["):
        return _of_array(path, chosen, rejected)
    first = _parsed(text.split("\n", 1)[0])
    more = "\n" in text.strip()
    row_like = isinstance(first, dict) and (chosen in first or rejected in first or more)
    if path.suffix in {".jsonl", ".ndjson"} or row_like:
        return (
            pair_of_row(row, f"{path}, line {number}", f"line {number}", chosen, rejected)
            for number, row in read_jsonl(path, _WHAT)
        )
    return None


def _of_array(path: Path, chosen: str, rejected: str) -> Iterator[Pair]:
    for number, row in enumerate(read_json(path, _WHAT), start=1):
        where = f"{path}, record {number}"
        if not isinstance(row, dict):
            raise RecordError(f"{where}: a JSON {type(row).__name__} (expected an object: {_WHAT}).")
        yield pair_of_row(row, where, f"record {number}", chosen, rejected)


def _of_filtered(path: Path, chosen_field: str | None, rejected_field: str | None) -> Iterator[Pair]:
    entries = read_entries(path, _WHAT)
    chosen, rejected = chosen_field, rejected_field
    if chosen is None or rejected is None:
        names = [field.removesuffix(SUFFIX) if field else None for field in (chosen, rejected)]
        arms = find_arms(path, entries.values(), *names)
        chosen, rejected = chosen or arms.source + SUFFIX, rejected or arms.target + SUFFIX
    for question, entry in entries.items():
        where = f"{path}, question {question!r}"
        refuse_unfiltered(path, entry)
        yield Pair(
            prompt=({"role": "user", "content": question},),
            chosen=text_of(entry, chosen, where),
            rejected=text_of(entry, rejected, where),
            name=question,
        )


def _why_not(pair: Pair) -> str | None:
    if not pair.chosen.strip():
        return "the chosen answer is empty"
    if not pair.rejected.strip():
        return "the rejected answer is empty"
    if pair.rejected_prompt is None:
        return "both answers are the same" if pair.chosen == pair.rejected else None
    if _question(pair.prompt) != _question(pair.rejected_prompt):
        return "the two answers belong to different questions"
    return None


def _question(prompt: tuple[Message, ...]) -> str:
    return next(message["content"] for message in reversed(prompt) if message["role"] == "user")


def _with_system(pair: Pair, system_prompt: str) -> Pair:
    if not system_prompt:
        return pair
    other = pair.rejected_prompt
    prompts = {
        "prompt": _headed(pair.prompt, system_prompt),
        "rejected_prompt": None if other is None else _headed(other, system_prompt),
    }
    return pair.model_copy(update=prompts)


def _headed(prompt: tuple[Message, ...], system_prompt: str) -> tuple[Message, ...]:
    if prompt[0]["role"] == "system":
        return prompt
    return ({"role": "system", "content": system_prompt}, *prompt)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
