"""The ways take turns, A B C, A B C, so that a machine that drifts hits all alike.

Shapes: L layers, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from turns import Way
from turns.loading import Loaded, Say, loaded

from peers import REFERENCE
from peers.work import Floats, Work

_WORKER = Path(__file__).resolve().parents[1] / "extract_worker.py"


@dataclass
class Measured:
    """What the rounds of one way gave."""

    way: Way
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
    ways: Sequence[Way], work: Work, work_file: Path, repeats: int, say: Say
) -> tuple[Floats, list[Measured]]:
    """The reference's vector (L, D) and what was measured of each way.

    Raises:
        SystemExit: the reference itself fails.
    """
    reference = Measured(REFERENCE)
    with loaded([REFERENCE], _WORKER, work_file, say) as processes:
        _turn(reference, processes, work, say)
    if reference.vector_LD is None:
        raise SystemExit("the reference failed, so nothing can be compared.")
    rows = [Measured(way) for way in ways]
    with loaded(ways, _WORKER, work_file, say) as processes:
        for _ in range(repeats):
            for row in rows:
                _turn(row, processes, work, say)
    for row in rows:
        row.failure = processes.failures.get(row.way.name, "")
        row.missing = processes.missing.get(row.way.name, "")
    return reference.vector_LD, rows


def _turn(row: Measured, processes: Loaded, work: Work, say: Say) -> None:
    result = work.scratch / f"{row.way.name}.npy"
    try:
        run = processes.ask(row.way, str(result))
    finally:
        for left in work.scratch.glob("*.h5*"):
            left.unlink()
    if run is None:
        return
    row.runs.append(run)
    if result.exists():
        row.vector_LD = np.load(result)
    say(f"{row.way.name}: {run['seconds']:.2f} s")
