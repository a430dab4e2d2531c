"""Loads what the first message names, then answers one message after the other until the pipe is closed."""

import importlib
import os
import sys
from typing import Any, BinaryIO

from frames import receive, send  # type: ignore[import-not-found]  # started by path: this folder comes first


def main() -> None:
    """Serve the pipe."""
    asked = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    # vLLM logs to the standard output, which carries the answers.
    os.dup2(2, 1)
    try:
        engine = _engine(receive(asked)[0])
    except Exception as error:  # noqa: BLE001 - whatever stopped it, the other side shows it
        send(answers, {"error": _told(error)})
        sys.exit(1)
    send(answers, {"version": engine.version})
    while _answer(engine, asked, answers):
        pass


def _engine(told: dict[str, Any]) -> Any:
    try:
        module = importlib.import_module("engine")
    except ImportError as error:
        raise ImportError(f"this Python cannot import what it takes: {error}") from error
    return module.Engine(told["device"], told["settings"])


def _answer(engine: Any, asked: BinaryIO, answers: BinaryIO) -> bool:
    """Answer one message; ``False`` when there are no more."""
    try:
        told, arrays = receive(asked)
    except EOFError:
        return False
    try:
        read = engine.read(arrays[0::2], arrays[1::2], told["layers"], tokens=told["tokens"])
    except Exception as error:  # noqa: BLE001 - whatever stopped it, the other side shows it
        send(answers, {"error": _told(error)})
        return True
    send(answers, {}, read)
    return True


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    main()
