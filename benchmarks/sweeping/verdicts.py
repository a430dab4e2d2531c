"""What the traits' own runs found: steered answers beside those under random directions, on test questions."""

import math
from pathlib import Path

from rich.table import Table

from steer_llama.evaluation import Wanted
from steer_llama.records import Interval, Verdict
from steer_llama.rundir import VERDICT
from steer_llama.stages.report import read_verdict


def table(folders: dict[str, Path]) -> Table:
    """A row a trait."""
    table = Table("trait", "winner", "trait score over random", "share of the distance closed, over random", "verdict")
    for trait, folder in folders.items():
        verdict = _read(folder)
        trait_over, closed_over = _over_random(verdict)
        table.add_row(
            trait,
            "none" if verdict.winner is None else str(verdict.winner.spot),
            _shown(trait_over, 1, ""),
            _shown(closed_over, 100, "%"),
            verdict.decision,
        )
    return table


def bar(trait: str, folder: Path) -> str:
    """Whether the steered answers lie beyond the random directions' on trait score and on fidelity."""
    verdict = _read(folder)
    trait_over, closed_over = _over_random(verdict)
    sign = 1 if verdict.wanted == "more" else -1
    said = []
    for name, interval, way in (("trait score", trait_over, sign), ("fidelity", closed_over, 1)):
        if interval is None or math.isnan(interval.low):
            said.append(f"{name}: not judged, the verdict cannot tell")
        else:
            said.append(f"{name}: {'met' if min(way * interval.low, way * interval.high) > 0 else 'NOT met'}")
    return f"bar: {trait} beats random directions of the same norm, whole interval beyond 0: {'; '.join(said)}"


def wanted(folder: Path) -> Wanted:
    """Which way the trait is to go."""
    return _read(folder).wanted


def _over_random(verdict: Verdict) -> tuple[Interval | None, Interval | None]:
    """Trait score, and share of the distance from the source that is closed: steered minus random."""
    found = next((each for each in verdict.comparisons if each.against == "random"), None)
    return (None, None) if found is None else (found.trait, found.closed)


def _read(folder: Path) -> Verdict:
    return read_verdict(folder / VERDICT)


def _shown(interval: Interval | None, scale: float, unit: str) -> str:
    if interval is None or math.isnan(interval.low):
        return "–"
    return f"{interval.mean * scale:+.0f}{unit} [{interval.low * scale:+.0f}, {interval.high * scale:+.0f}]"
