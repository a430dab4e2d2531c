"""The ways take turns, A B C, A B C, so that a machine that drifts hits all alike.

Shapes: L layers, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from peers import REFERENCE, Peer
from peers.environments import THREADS, CannotInstallError
from peers.process import FailedError, WayProcess
from peers.work import Floats, Work

Say = Callable[[str], None]


@dataclass
class Measured:
    """What the rounds of one way gave."""

    peer: Peer
    runs: list[dict[str, Any]] = field(default_factory=list)
    vector_LD: Floats | None = None
    """Of the last round."""
    failure: str = ""
    missing: str = ""
    """Why it cannot be installed."""

    @property
    def ran(self) -> bool:
        return bool(self.runs) and not self.failure

    @property
    def all_seconds(self) -> list[float]:
        return [run["seconds"] for run in self.runs]

    @property
    def seconds(self) -> float:
        """The median."""
        return median(self.all_seconds)

    @property
    def above_mb(self) -> float | None:
        """The highest peak of any round over the loaded model."""
        known = [run["above_mb"] for run in self.runs if run["above_mb"] is not None]
        return max(known, default=None)


def take_turns(
    peers: Sequence[Peer], work: Work, work_file: Path, repeats: int, say: Say
) -> tuple[Floats, list[Measured]]:
    """The reference's vector (L, D) and what was measured of each way.

    Raises:
        SystemExit: the reference itself fails.
    """
    reference = Measured(REFERENCE)
    with _loaded([reference], work_file, say) as processes:
        _turn(reference, processes, work, say)
    if reference.vector_LD is None:
        raise SystemExit("the reference failed, so nothing can be compared.")
    rows = [Measured(peer) for peer in peers]
    with _loaded(rows, work_file, say) as processes:
        for _ in range(repeats):
            for row in rows:
                _turn(row, processes, work, say)
    return reference.vector_LD, rows


@contextmanager
def _loaded(rows: list[Measured], work_file: Path, say: Say) -> Iterator[dict[str, WayProcess]]:
    """Their processes by name, loaded, as many at once as there are threads; what cannot be had is noted in its row."""
    processes: dict[str, WayProcess] = {}

    def load(row: Measured) -> None:
        try:
            processes[row.peer.name] = WayProcess(row.peer, work_file)
            processes[row.peer.name].wait_until_loaded()
        except CannotInstallError as error:
            row.missing = f"cannot be installed ({', '.join(row.peer.packages)}): {error}"
            say(f"{row.peer.name}: skipped, {row.missing}")
        except FailedError as error:
            _fail(row, error, say)

    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(load, rows))
        yield processes
    finally:
        for process in processes.values():
            process.close()


def _turn(row: Measured, processes: dict[str, WayProcess], work: Work, say: Say) -> None:
    if row.failure or row.missing:
        return
    result = work.scratch / f"{row.peer.name}.npy"
    try:
        run = processes[row.peer.name].run(result)
    except FailedError as error:
        _fail(row, error, say)
        return
    finally:
        for left in work.scratch.glob("*.h5*"):
            left.unlink()
    row.runs.append(run)
    if result.exists():
        row.vector_LD = np.load(result)
    say(f"{row.peer.name}: {run['seconds']:.2f} s")


def _fail(row: Measured, error: FailedError, say: Say) -> None:
    row.failure = str(error)
    say(f"{row.peer.name}: FAILED: {row.failure}")
