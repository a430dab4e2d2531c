"""What `run` and `demo` share: the pipeline with its live display, and the summary at its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from steer_llama.config import Config
from steer_llama.evaluation.shown import NONE, Example, examples, number, spread
from steer_llama.pipeline import run
from steer_llama.progress import ConsoleReporter
from steer_llama.records import TestArm, Verdict
from steer_llama.rundir import REPORT, SWEEP, VERDICT, RunDir
from steer_llama.stages.report import read_trials, read_verdict

_SHOWN = 3
_WIDEST = 110
"""Columns of the terminal that the table takes at most."""
_LABEL = 18
"""Columns at least for an arm's name, which may break."""
_DROPPED = ("perplexity", "score", "lift", "wrong", "coherence", "trait")
"""Where there is no room: what goes, in this order."""


@dataclass(frozen=True)
class _Column:
    """A column of the table of arms."""

    name: str
    title: str
    cell: Callable[[TestArm], str]


def run_and_show(config: Config, out: Path) -> None:
    """Run the pipeline in ``out``, then show what came of it."""
    rundir = RunDir(out)
    run(config, rundir, ConsoleReporter())
    console = Console()
    verdict = read_verdict(rundir.path(VERDICT))
    console.print()
    width = min(console.width, _WIDEST)
    console.print(_arms_table(verdict, width), width=width)
    for example in examples(verdict, read_trials(rundir.path(SWEEP)), _SHOWN)[1]:
        console.print(_answers(example))
    console.print(Panel(Text(verdict.sentence), title="verdict", title_align="left"))
    console.print(Text(f"report: {rundir.path(REPORT)}"), soft_wrap=True)


def _arms_table(verdict: Verdict, width: int) -> Table:
    """The arms, without the columns for which there is no room."""
    columns = _columns(verdict)
    for name in _DROPPED:
        # Beside each column stand its padding and the box's blank.
        if _LABEL + 3 + sum(_width(column, verdict) + 2 for column in columns) <= width:
            break
        columns = [column for column in columns if column.name != name]
    return _table(verdict, columns)


def _width(column: _Column, verdict: Verdict) -> int:
    return max(cell_len(text) for text in (*column.title.split("\n"), *(column.cell(arm) for arm in verdict.arms)))


def _columns(verdict: Verdict) -> list[_Column]:
    """Those in which something was measured."""
    counted = any(arm.measured.share.n for arm in verdict.arms)  # a judge's scores have no "occurs at all"
    metric = verdict.metric.replace("_", " ")
    score = _Column("trait", "trait\nscore", lambda arm: spread(arm.measured.trait))
    columns = [
        _Column("closed", "style gap\nclosed", _closed),
        _Column("trait", f"with\n{metric}", lambda arm: spread(arm.measured.share, 100, unit="%"))
        if counted
        else score,
        _Column("lift", "lift,\npoints", lambda arm: _lift(arm, shares=counted)),
        *([replace(score, name="score")] if counted else []),
        _Column("wrong", "wrong way\n/ tied", _wrong_way),
        _Column("coherence", "coherence", lambda arm: number(arm.measured.coherence, 0)),
        _Column("perplexity", "perplexity", lambda arm: number(arm.measured.perplexity, 1)),
    ]
    return [column for column in columns if any(column.cell(arm) not in {NONE, ""} for arm in verdict.arms)]


def _table(verdict: Verdict, columns: Sequence[_Column]) -> Table:
    scored = verdict.metric.replace("_", " ")
    title = Text(f"{verdict.trait} (scored by {scored}), on questions that nothing was chosen on", style="bold")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("answers of", overflow="fold", min_width=_LABEL)
    for column in columns:
        # Figures stay whole: only the arms' names may break.
        table.add_column(Text(column.title), justify="right", no_wrap=True, min_width=_width(column, verdict))
    for arm in verdict.arms:
        cells = (Text(column.cell(arm)) for column in columns)
        table.add_row(Text(arm.label), *cells, style="bold" if arm.arm == "steered" else "")
    return table


def _answers(example: Example) -> Table:
    table = Table(title=Text(example.question, style="bold"), title_justify="left", expand=True)
    for answer in example.answers:
        table.add_column(Text(answer.label), ratio=1)
    table.add_row(*(Text(answer.text + (" …" if answer.cut else "")) for answer in example.answers))
    return table


def _closed(arm: TestArm) -> str:
    return NONE if arm.fidelity is None or arm.arm == "unsteered" else spread(arm.fidelity.closed, 100, unit="%")


def _lift(arm: TestArm, *, shares: bool) -> str:
    lift, scale = (arm.lift_share, 100) if shares else (arm.lift_trait, 1)
    if lift is None:
        return ""
    return f"{lift.mean * scale:+.0f} [{lift.low * scale:+.0f}, {lift.high * scale:+.0f}]".replace("-", "−")


def _wrong_way(arm: TestArm) -> str:
    """The share that moved the wrong way, and the share that did not move."""
    if arm.anti_steered is None or not arm.anti_steered.share.n:
        return ""
    wrong, tied = (number(100 * share.mean, 0) for share in (arm.anti_steered.share, arm.anti_steered.tied))
    return f"{wrong}% / {tied}%"
