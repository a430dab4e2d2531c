"""Conversations and texts from files, standard input or a flag: what `monitor` reads."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from steer_llama.errors import ConfigError, FileError, RecordError
from steer_llama.files import read_text
from steer_llama.records import Message

_WHAT = "a conversation, or a plain text"
_SHAPES = (
    "a list of {role, content}, {messages: […]}, several of them in a list or one a line, or the lines of a "
    "responses.jsonl"
)
Kind = Literal["json", "lines", "text", "unknown"]
_KINDS: dict[str, Kind] = {".json": "json", ".jsonl": "lines", ".ndjson": "lines", ".txt": "text"}
"""By a file's ending; any other is told by what is in it."""


@dataclass(frozen=True)
class Talk:
    """A conversation, or a text that goes to the model as it is."""

    name: str
    messages: tuple[Message, ...] = ()
    raw: str | None = None


@dataclass(frozen=True)
class Read:
    """What was read, and what was assumed."""

    talks: tuple[Talk, ...]
    notes: tuple[str, ...] = ()


def read_given(file: Path | None, text: str | None, *, raw: bool, role: str | None) -> Read:
    """Read what a user names.

    Args:
        file: a file, or ``-`` for standard input.
        text: the text itself, instead.
        raw: give the text to the model without a chat template.
        role: whose message a plain text is; ``None`` was not said.

    Raises:
        ConfigError: neither or both are given, or flags that contradict each other or the file.
        FileError: it cannot be read, or is JSON of another shape.
        RecordError: one of its conversations is wrong.
    """
    if (file is None) == (text is None):
        raise ConfigError("give a file (- for standard input), or --text; one of them.")
    if raw and role is not None:
        raise ConfigError("--raw gives the text to the model as it is, so it has no --role; leave one of them out.")
    if text is not None:
        if not text.strip():
            raise ConfigError("--text is empty; give some words.")
        return _plain("--text", _sound("--text", text), raw, role)
    assert file is not None, "one of the two is given"
    where, content = ("standard input", _standard_input()) if str(file) == "-" else (str(file), _of(file))
    content = _sound(where, content)
    kind = _KINDS.get(file.suffix.lower(), "unknown")
    found = None if kind == "text" or (raw and kind == "unknown") else _parsed(where, content, kind)
    if found is None:
        return _plain(where, content, raw, role)
    if raw or role is not None:
        flag = "--raw" if raw else "--role"
        raise ConfigError(f"{where} holds conversations, whose messages have their roles; {flag} is for a plain text.")
    return Read(tuple(found))


def _of(file: Path) -> str:
    return read_text(file, _WHAT, newline="")


def _standard_input() -> str:
    try:
        content = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"standard input: not UTF-8 text at byte {error.start} (expected {_WHAT}).") from error
    if not content.strip():
        raise FileError(f"standard input: is empty (expected {_WHAT}).")
    return content


def _plain(where: str, text: str, raw: bool, role: str | None) -> Read:
    if raw:
        return Read((Talk(where, raw=text),), (f"{where}: a plain text, read without a chat template",))
    note = () if role else (f"{where}: a plain text, read as one user message; --role assistant or --raw changes that",)
    return Read((Talk(where, ({"role": role or "user", "content": text},)),), note)


def _parsed(where: str, content: str, kind: Kind) -> list[Talk] | None:
    """The conversations; ``None`` where it is plain text."""
    if kind == "unknown" and not content.lstrip().startswith(("[", "{")):
        return None
    if kind != "lines":
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            if kind == "json":
                raise FileError(f"{where}: not JSON: {error} (expected {_SHAPES}).") from error
        else:
            return list(_whole(where, value))
    try:
        rows = [
            (f"{where}, line {number}", json.loads(line))
            for number, line in enumerate(content.split("\n"), start=1)
            if line.strip()
        ]
    except (ValueError, RecursionError) as error:
        if kind == "unknown":
            return None
        raise FileError(f"{where}: a line is not JSON: {error} (expected {_SHAPES}).") from error
    return [_talk(place, row) for place, row in rows]


def _whole(where: str, value: Any) -> Iterator[Talk]:
    several = isinstance(value, list) and value and not (isinstance(value[0], dict) and "role" in value[0])
    if not several:
        yield _talk(where, value)
        return
    for number, one in enumerate(value, start=1):
        yield _talk(f"{where}, conversation {number}", one)


def _talk(where: str, value: Any) -> Talk:
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        return Talk(where, _messages(where, value["messages"]))
    if isinstance(value, dict) and isinstance(value.get("question"), str) and isinstance(value.get("text"), str):
        name = f"{where} ({value['arm']})" if value.get("arm") else where
        turns = {"user": value["question"], "assistant": value["text"]}
        return Talk(name, tuple(Message(role=role, content=_sound(where, said)) for role, said in turns.items()))
    if isinstance(value, list):
        return Talk(where, _messages(where, value))
    found = f"an object of {', '.join(map(str, list(value)[:6]))}" if isinstance(value, dict) else type(value).__name__
    raise RecordError(f"{where}: {found} (expected {_SHAPES}). A plain text is read from a .txt file, or with --text.")


def _messages(where: str, given: list[Any]) -> tuple[Message, ...]:
    if not given:
        raise RecordError(f"{where}: a conversation without messages (expected {_SHAPES}).")
    messages = []
    for number, message in enumerate(given, start=1):
        place = f"{where}, message {number}"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
            raise RecordError(f"{place}: expected an object of 'role' and 'content'.")
        messages.append(Message(role=message["role"], content=_content(place, message["content"])))
    return tuple(messages)


def _content(place: str, content: Any) -> str:
    """A text, or the texts of parts as chat APIs have them."""
    if isinstance(content, str):
        return _sound(place, content)
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in parts]
    if parts and all(isinstance(text, str) for text in texts):
        return _sound(place, "".join(str(text) for text in texts))
    raise RecordError(f"{place}: its 'content' is no text ({type(content).__name__}); only texts can be read.")


def _sound(where: str, text: str) -> str:
    """Refuse half a character, which a command line and a JSON escape may hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FileError(
            f"{where}: half a character at position {error.start} (a lone surrogate); delete it."
        ) from error
    return text
