"""The ways take turns, each with all its sets of rows, so that a machine that drifts hits all alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from turns import Way
from turns.loading import Say, loaded

from generation.work import Answer

_WORKER = Path(__file__).resolve().parents[1] / "steer_worker.py"


@dataclass
class Measured:
    """What the rounds of one way gave on one set of rows."""

    way: Way
    rows: str
    """The set's name."""
    all_seconds: list[float] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    """Of the last round."""
    failure: str = ""
    missing: str = ""
    """Why it cannot be installed."""

    @property
    def ran(self) -> bool:
        return bool(self.all_seconds) and not self.failure

    @property
    def tokens(self) -> int:
        return sum(answer.tokens for answer in self.answers)

    @property
    def speeds(self) -> list[float]:
        """Tokens a second in each round."""
        return [self.tokens / seconds for seconds in self.all_seconds]

    @property
    def speed(self) -> float:
        """The median."""
        return median(self.speeds)


def take_turns(
    asked: Sequence[tuple[Way, Sequence[str]]], work_file: Path, repeats: int, say: Say
) -> dict[tuple[str, str], Measured]:
    """What was measured of each way with each of its sets, by the names of both; ``work_file`` holds the `Work`."""
    measured = {(way.name, rows): Measured(way, rows) for way, sets in asked for rows in sets}
    with loaded([way for way, _ in asked], _WORKER, work_file, say) as processes:
        for _ in range(repeats):
            for each in measured.values():
                run = processes.ask(each.way, each.rows)
                if run is None:
                    continue
                each.all_seconds.append(run["seconds"])
                each.answers = [Answer(**answer) for answer in run["answers"]]
                say(f"{each.way.name}, {each.rows}: {each.tokens:,} tokens, {each.speeds[-1]:.1f} a second")
    for each in measured.values():
        each.failure = processes.failures.get(each.way.name, "")
        each.missing = processes.missing.get(each.way.name, "")
    return measured
