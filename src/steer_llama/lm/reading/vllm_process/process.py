"""The worker from outside: starting it, asking it, and telling why it ended."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from steer_llama.errors import ModelError
from steer_llama.lm.reading.vllm_process.worker.frames import Array, receive, send

_FOLDER = Path(__file__).parent / "worker"
_PATIENCE = 20
"""Seconds for the worker to end by itself before it is killed."""
_SHOWN_LINES = 12
_SHOWN_LETTERS = 1200


class Worker:
    """A process with vLLM's Python that holds the weights."""

    def __init__(self, python: Path, environment: dict[str, str], device: str, settings: dict[str, Any]) -> None:
        """Start it and wait until the weights are loaded.

        Args:
            python: of vLLM's environment.
            environment: variables, on top of (or, where empty, without) ours.
            device: kind of device that is asked for, or empty.
            settings: as ``vllm.LLM`` takes them.

        Raises:
            ModelError: it does not start, or vLLM cannot load the model.
        """
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        whole = {**os.environ, **environment}
        try:
            self._process = subprocess.Popen(
                [python, _FOLDER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={name: value for name, value in whole.items() if value},
                start_new_session=True,  # Ctrl-C is for us: we close the pipe, which ends it
            )
        except OSError as error:
            self._log.close()
            raise ModelError(f"{python}: cannot be started ({error.strerror}).") from error
        self._python = python
        try:
            self.version = str(self._exchange({"device": device, "settings": settings}, ())[0]["version"])
        except BaseException:
            self.close()
            raise

    def ask(self, told: dict[str, Any], arrays: Sequence[Array]) -> list[Array]:
        """Send a message and wait for the answer's arrays.

        Raises:
            ModelError: the worker says that it cannot, or has ended.
        """
        return self._exchange(told, arrays)[1]

    def close(self) -> None:
        """End it; by force if it takes long. Closing twice does no harm."""
        if self._log.closed:
            return
        cast(BinaryIO, self._process.stdout).close()
        with suppress(OSError):  # it has ended already, with something unread
            cast(BinaryIO, self._process.stdin).close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def _exchange(self, told: dict[str, Any], arrays: Sequence[Array]) -> tuple[dict[str, Any], list[Array]]:
        with suppress(OSError):  # it has ended: what it said before says why
            send(cast(BinaryIO, self._process.stdin), told, arrays)
        try:
            answer, found = receive(cast(BinaryIO, self._process.stdout))
        except (EOFError, ValueError) as error:
            raise ModelError(self._obituary()) from error
        if "error" in answer:
            raise ModelError(f"vLLM ({self._python}): {answer['error'][:_SHOWN_LETTERS]}")
        return answer, found

    def _obituary(self) -> str:
        """How it ended, and the last that it wrote."""
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            how = "closed its pipe"
        else:
            how = f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with code {code}"
            if code == -signal.SIGKILL:
                how += ", as the system does where memory runs out"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").rstrip().splitlines()
        said = "\n".join(lines[-_SHOWN_LINES:])[-_SHOWN_LETTERS:]
        return f"the vLLM worker ({self._python}) {how}. Its last lines:\n{said or '(none)'}"
