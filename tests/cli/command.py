"""The command line, run as a user runs it: in this process (fast), or in one of its own that can be killed."""

import contextlib
import io
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch

from steer_llama.cli.main import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """What stands on stderr, in one line, without the frame around a usage error."""
        return " ".join(self.err.translate(dict.fromkeys(map(ord, "│╭╮╰╯─"), " ")).split())


def steer_llama(*argv: object) -> Ran:
    """Run the console script's function with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["steer-llama", *map(str, argv)])
        patch.setenv("COLUMNS", "200")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
            main()
    return Ran(int(left.value.code or 0), out.getvalue(), err.getvalue())


@contextmanager
def one_thread() -> Iterator[None]:
    """Tiny products gain nothing from threads, and lose much where others keep the cores busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# Forked from a process that has imported everything, so that starting costs nothing.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["steer_llama.cli.running", "tests.cli.command", "tests.lm.models"])


class Started:
    """A steer-llama in a process of its own."""

    def __init__(self, folder: Path, *argv: object, nobody_reads: bool = False) -> None:
        """Its output goes to files in ``folder``, or with ``nobody_reads`` its stdout to a pipe without a reader."""
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        self.process: ForkServerProcess = _CONTEXT.Process(
            target=_work, args=([str(part) for part in argv], str(self._out), str(self._err), nobody_reads)
        )
        self.process.start()

    def send(self, number: int) -> None:
        assert self.process.pid is not None
        assert self.process.is_alive(), f"it has ended by itself: {self._err.read_text()}"
        os.kill(self.process.pid, number)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.is_alive(), f"it has ended by itself: {self._err.read_text()}"
            assert time.monotonic() < end, f"waited in vain; it says {self._err.read_text()}"
            time.sleep(0.01)

    def finish(self, seconds: float = 120) -> Ran:
        self.process.join(seconds)
        assert self.process.exitcode is not None, "it does not end"
        return Ran(self.process.exitcode, self._out.read_text(), self._err.read_text())


def _work(argv: list[str], out: str, err: str, nobody_reads: bool) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if nobody_reads:
        read, write = os.pipe()
        os.dup2(write, 1)
        os.close(write)
        os.close(read)
    torch.set_num_threads(1)
    sys.argv = ["steer-llama", *argv]
    main()
