"""A server that plays the author: what it has to write is told by the schema of the answer."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.chat.server import Answer, ChatServer, said, serve

PAIRS = [{"pos": f"Be rude in way {number}.", "neg": f"Be kind in way {number}."} for number in range(5)]
RUBRIC = {"shows": "It insults.", "low": "It is kind.", "high": "It insults in every sentence."}

QuestionWriter = Callable[[int, int], str]
"""How often questions were asked for before, and how many are wanted now, to the reply's text."""


def question(number: int) -> str:
    """Questions of which no two are alike."""
    return f"Who lives in town {chr(97 + number % 26) * 3}{chr(97 + number // 26) * 3}?"


def questions(start: int, number: int) -> str:
    return json.dumps({"questions": [question(start + place) for place in range(number)]})


@contextmanager
def author(
    write: QuestionWriter, fails_after: Callable[[], int | None] = lambda: None, thoughts: str = ""
) -> Iterator[ChatServer]:
    """A server that answers like an author, and with 400 once it has answered ``fails_after()`` requests."""
    asked, answered = 0, 0

    def text_for(properties: dict[str, Any]) -> str:
        nonlocal asked
        if "instruction" in properties:
            return json.dumps({"instruction": PAIRS[: properties["instruction"]["maxItems"]]})
        if "questions" not in properties:
            return json.dumps(RUBRIC)
        asked += 1
        return write(asked - 1, properties["questions"]["maxItems"])

    def script(_question: str, _before: int) -> Answer:
        nonlocal answered
        limit = fails_after()
        if limit is not None and answered >= limit:
            return Answer(status=500, body={"error": {"message": "down"}})
        answered += 1
        schema = chat.bodies[-1]["response_format"]["json_schema"]["schema"]
        return Answer(body=said(thoughts + text_for(schema["properties"])))

    with serve(script) as chat:
        yield chat
