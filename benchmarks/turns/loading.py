"""Ways in their processes: loaded together, asked one at a time, and what went wrong with any of them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turns import Way
from turns.environments import THREADS, CannotInstallError
from turns.process import FailedError, WayProcess

Say = Callable[[str], None]


class Loaded:
    """The processes of some ways."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.processes: dict[str, WayProcess] = {}
        self.missing: dict[str, str] = {}
        """By way: why it cannot be installed."""
        self.failures: dict[str, str] = {}
        """By way: the last of what it said."""

    def load(self, way: Way, worker: Path, work_file: Path) -> None:
        """Start it and come back when its model is there; what goes wrong is noted."""
        try:
            self.processes[way.name] = WayProcess(way, worker, work_file)
            self.processes[way.name].wait_until_loaded()
        except CannotInstallError as error:
            self.missing[way.name] = f"cannot be installed ({', '.join(way.packages)}): {error}"
            self._say(f"{way.name}: skipped, {self.missing[way.name]}")
        except FailedError as error:
            self._fail(way, error)

    def ask(self, way: Way, line: str) -> dict[str, Any] | None:
        """What it answers to ``line``; ``None`` where it is not there, or fails now (which is noted)."""
        if way.name in self.missing or way.name in self.failures:
            return None
        try:
            return self.processes[way.name].run(line)
        except FailedError as error:
            self._fail(way, error)
            return None

    def _fail(self, way: Way, error: FailedError) -> None:
        self.failures[way.name] = str(error)
        self._say(f"{way.name}: FAILED: {error}")


@contextmanager
def loaded(ways: Sequence[Way], worker: Path, work_file: Path, say: Say) -> Iterator[Loaded]:
    """The ways' processes, as many loading at once as there are threads; they end with the context."""
    processes = Loaded(say)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda way: processes.load(way, worker, work_file), ways))
        yield processes
    finally:
        for process in processes.processes.values():
            process.close()
