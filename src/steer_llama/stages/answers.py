"""Both arms' answers to every question, from ``responses.jsonl`` or from a file of results or filtered pairs."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from steer_llama.chat import read_responses
from steer_llama.errors import FileError, RecordError
from steer_llama.files import read_text
from steer_llama.pairs import Arms, ReadResults, read_results
from steer_llama.records import Elicitation, Response, SplitName

_WHAT = "answers: a responses.jsonl, results.json or filtered.json"


@dataclass(frozen=True)
class BothAnswers:
    """What the two arms answered to one question."""

    question: str
    source: str
    target: str
    split: SplitName | None = None
    source_reason: str | None = None
    """Why there is no answer of the source, where its server refused the question."""
    target_reason: str | None = None


@dataclass(frozen=True)
class ReadAnswers:
    """What a file of answers holds."""

    answers: list[BothAnswers]
    arms: Arms


def read_answers(path: Path, elicitation: Elicitation | None, arms: Arms | None = None) -> ReadAnswers:
    """Both arms' answers; with an elicitation those to its questions only, in its order.

    A results.json or filtered.json may lack some of the questions: pairs are dropped on the way to it.

    Args:
        path: a responses.jsonl, results.json or filtered.json.
        elicitation: whose questions count.
        arms: which arm is the source, where a results.json has arms of these names.

    Raises:
        ConfigError: the keys do not tell which arm is the source.
        FileError: the file is missing or of another format.
        RecordError: an answer is missing.
    """
    if not _is_jsonl(path, read_text(path, _WHAT)):
        return _of_results(path, elicitation, arms)
    responses = read_responses(path)
    if elicitation is not None:
        responses = in_order(responses, elicitation, str(path))
    return ReadAnswers(both_answers(responses), arms_of(responses))


def both_answers(responses: Iterable[Response]) -> list[BothAnswers]:
    """The two answers to each question, in the order of the questions' first answers.

    Raises:
        RecordError: a question lacks the answer of an arm, or has two of one arm.
    """
    found: dict[str, dict[str, Response]] = {}
    for response in responses:
        of_question = found.setdefault(response.question, {})
        if response.role in of_question:
            raise RecordError(f"the {response.role} has two answers to {response.question!r}; keep one of them.")
        of_question[response.role] = response
    for question, of_question in found.items():
        for role in ("source", "target"):
            if role not in of_question:
                raise RecordError(f"the {role} has no answer to {question!r}; run `respond` again to get it.")
    return [_both(of_question["source"], of_question["target"]) for of_question in found.values()]


def arms_of(responses: Iterable[Response]) -> Arms:
    """The names of the two arms that answered.

    Raises:
        RecordError: a role has no answers, or those of several arms.
    """
    names: dict[str, list[str]] = {"source": [], "target": []}
    for response in responses:
        if response.arm not in names[response.role]:
            names[response.role].append(response.arm)
    for role, found in names.items():
        if len(found) != 1:
            raise RecordError(f"the responses have {len(found)} arms in the role {role!r} ({found}); expected one.")
    return Arms(names["source"][0], names["target"][0])


def in_order(responses: Sequence[Response], elicitation: Elicitation, where: str) -> list[Response]:
    """The answers to the elicitation's questions, in its order.

    Raises:
        RecordError: some of its questions have no answers in ``where``.
    """
    by_question: dict[str, list[Response]] = {question: [] for question in elicitation.questions}
    for response in responses:
        if response.question in by_question:
            by_question[response.question].append(response)
    if missing := [question for question, found in by_question.items() if not found]:
        raise RecordError(
            f"{where}: no answers to {len(missing)} of {len(by_question)} questions, first {missing[0]!r}. "
            "Run `respond` again to get them."
        )
    return [response for found in by_question.values() for response in found]


def _both(source: Response, target: Response) -> BothAnswers:
    return BothAnswers(
        source.question,
        source.text,
        target.text,
        source.split,
        source_reason=source.reason,
        target_reason=target.reason,
    )


def _of_results(path: Path, elicitation: Elicitation | None, arms: Arms | None) -> ReadAnswers:
    read = _read_results(path, arms)
    by_question = {
        result.question: BothAnswers(result.question, result.source_response, result.target_response, result.split)
        for result in read.results
    }
    questions = by_question if elicitation is None else elicitation.questions
    answers = [by_question[question] for question in questions if question in by_question]
    if not answers:
        raise RecordError(
            f"{path}: answers none of the elicitation's {len(elicitation.questions) if elicitation else 0} questions. "
            "Give the elicitation that these answers belong to, or none."
        )
    return ReadAnswers(answers, read.arms)


def _read_results(path: Path, arms: Arms | None) -> ReadResults:
    if arms is not None:
        with suppress(FileError):  # it has other names: then its keys have to tell
            return read_results(path, *arms)
    return read_results(path)


def _is_jsonl(path: Path, text: str) -> bool:
    """Whether the file has an object a line; a results.json may stand on one line as well."""
    if path.suffix in {".jsonl", ".ndjson"}:
        return True
    try:
        first = json.loads(text.lstrip().split("\n", 1)[0])
    except ValueError:
        return False
    return isinstance(first, dict) and isinstance(first.get("question"), str) and isinstance(first.get("text"), str)
