"""A way in a process of its own, which is loaded once and then asked as often as there are rounds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from turns import Way
from turns.environments import overlay, surroundings


class FailedError(Exception):
    """The process ended; holds the last of what it said."""


class WayProcess:
    """The worker's process."""

    def __init__(self, way: Way, worker: Path, work_file: Path) -> None:
        """Start it.

        Raises:
            CannotInstallError: its packages cannot be installed.
        """
        self._log = work_file.with_name(f"{way.name}.log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(worker), way.name, str(work_file)],
                env=surroundings(overlay(way)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def wait_until_loaded(self) -> None:
        """Come back when the model is there.

        Raises:
            FailedError: it cannot be loaded.
        """
        self._answer()

    def run(self, line: str) -> dict[str, Any]:
        """What the worker answers to ``line``.

        Raises:
            FailedError: it cannot be done.
        """
        assert self._process.stdin is not None, "it is a pipe"
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failed() from None
        facts: dict[str, Any] = json.loads(self._answer())
        return facts

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None, "it is a pipe"
        if line := self._process.stdout.readline():
            return line
        raise self._failed()

    def _failed(self) -> FailedError:
        code = self._process.wait()
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()
        return FailedError(f"ended with {code}\n{said[-1500:]}")
