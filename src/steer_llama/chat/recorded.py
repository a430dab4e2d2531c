"""A chat model whose answers are in a file: nothing is asked, so runs can be repeated without the model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from steer_llama.chat.prompts import last_question
from steer_llama.config import ArmSettings, explain
from steer_llama.errors import ConfigError, FileError, RecordError
from steer_llama.files import read_json, read_jsonl, read_text
from steer_llama.records import ChatReply, ChatRequest, Response

_WHAT = "recorded answers: responses.jsonl, results.json or filtered.json"


@dataclass(frozen=True)
class Recorded:
    """One recorded answer."""

    text: str
    model: str
    finish_reason: str = "recorded"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class RecordedEndpoint:
    """Answers questions from a file, whatever the prompt around them and the sampling."""

    def __init__(self, name: str, answers: Mapping[str, Recorded], where: str) -> None:
        """``answers`` by question; ``where`` names their file in errors."""
        self.name = name
        self._answers = answers
        self._where = where

    @classmethod
    def from_settings(cls, arm: ArmSettings) -> Self:
        """The endpoint that an arm of kind ``recorded`` describes.

        Raises:
            ConfigError: 'file' is missing.
            FileError: the file is missing, not of a known format, or holds nothing of this arm.
            RecordError: one of its records is wrong.
        """
        if arm.file is None:
            raise ConfigError(f"{arm.name}: kind {arm.kind!r} needs 'file'.")
        return cls(arm.name, read_recorded(arm.file, arm.name), str(arm.file))

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        """See `Endpoint.answer`; the question is the last user message.

        Raises:
            RecordError: the file has no answer to some of the questions; nothing was yielded.
        """
        questions = [last_question(request.messages) for request in requests]
        if missing := [question for question in questions if question not in self._answers]:
            first = ", ".join(repr(question) for question in missing[:3])
            raise RecordError(
                f"{self._where}: no answer of {self.name!r} to {len(missing)} of {len(questions)} questions, "
                f"first {first}. Record them, or ask only the questions that are there."
            )
        return self._replies(requests, questions)

    def _replies(self, requests: Sequence[ChatRequest], questions: Sequence[str]) -> Iterator[ChatReply]:
        for request, question in zip(requests, questions, strict=True):
            answer = self._answers[question]
            yield ChatReply(
                key=request.key,
                text=answer.text,
                finish_reason=answer.finish_reason,
                model=answer.model,
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
            )


def read_recorded(path: Path, arm: str) -> dict[str, Recorded]:
    """The answers of ``arm`` in a responses.jsonl, results.json or filtered.json, by question.

    Raises:
        FileError: the file is missing, not of a known format, or holds nothing of this arm.
        RecordError: one of its records is wrong, or a question has two different answers.
    """
    text = read_text(path, _WHAT)
    if path.suffix in {".jsonl", ".ndjson"} or _is_response(text.lstrip().split("\n", 1)[0]):
        return _of_responses(path, arm)
    return _of_results(path, arm)


def read_responses(path: Path) -> list[Response]:
    """The lines of a ``responses.jsonl``.

    Raises:
        FileError: the file is missing or empty.
        RecordError: a line is not a response; the line and the key are named.
    """
    responses: list[Response] = []
    for number, row in read_jsonl(path, "responses, one JSON object a line"):
        try:
            responses.append(Response.model_validate(row))
        except ValidationError as error:
            raise RecordError(f"{path}, line {number}: {explain(error, Response)}") from error
    return responses


def _of_responses(path: Path, arm: str) -> dict[str, Recorded]:
    answers: dict[str, Recorded] = {}
    responses = read_responses(path)
    for response in responses:
        if response.arm != arm:
            continue
        answer = Recorded(
            response.text, response.model, response.finish_reason, response.prompt_tokens, response.completion_tokens
        )
        if answers.setdefault(response.question, answer).text != answer.text:
            raise RecordError(f"{path}: {arm!r} has two different answers to {response.question!r}; keep one of them.")
    if not answers:
        found = ", ".join(sorted({response.arm for response in responses}))
        raise FileError(f"{path}: no answers of {arm!r}; it holds those of {found}. Give the arm one of these names.")
    return answers


def _of_results(path: Path, arm: str) -> dict[str, Recorded]:
    value = read_json(path, _WHAT)
    key = f"{arm}_response"
    if not isinstance(value, dict):
        raise FileError(f"{path}: a JSON {type(value).__name__} (expected {_WHAT}).")
    answers: dict[str, Recorded] = {}
    for question, entry in value.items():
        if not isinstance(entry, dict):
            raise RecordError(f"{path}, question {question!r}: expected an object with {key!r}.")
        if key not in entry:
            continue
        if not isinstance(entry[key], str):
            raise RecordError(f"{path}, question {question!r}: {key!r} is {_kind(entry[key])}, expected a text.")
        answers[question] = Recorded(entry[key], arm)
    if not answers:
        found = sorted({name for entry in value.values() for name in entry if name.endswith("_response")})
        there = f"it has {', '.join(map(repr, found))}" if found else "it has no keys that end in '_response'"
        raise FileError(f"{path}: no key {key!r}; {there}. Name the arm after the key.")
    return answers


def _is_response(line: str) -> bool:
    try:
        row: Any = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and isinstance(row.get("question"), str) and isinstance(row.get("text"), str)


def _kind(value: Any) -> str:
    return "null" if value is None else f"a JSON {type(value).__name__}"
