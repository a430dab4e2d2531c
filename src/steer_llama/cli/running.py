"""What `run` and `demo` share: the pipeline with its live display, and the summary at its end."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from steer_llama.config import Config
from steer_llama.evaluation.shown import Example, examples
from steer_llama.pipeline import run
from steer_llama.progress import ConsoleReporter
from steer_llama.records import Interval, Verdict
from steer_llama.rundir import REPORT, SWEEP, VERDICT, RunDir
from steer_llama.stages.report import read_trials, read_verdict

_SHOWN = 3


def run_and_show(config: Config, out: Path) -> None:
    """Run the pipeline in ``out``, then show what came of it."""
    rundir = RunDir(out)
    run(config, rundir, ConsoleReporter())
    console = Console()
    verdict = read_verdict(rundir.path(VERDICT))
    console.print()
    console.print(_arms_table(verdict))
    for example in examples(verdict, read_trials(rundir.path(SWEEP)), _SHOWN)[1]:
        console.print(_answers(example))
    console.print(Panel(Text(verdict.sentence), title="verdict", title_align="left"))
    console.print(Text(f"report: {rundir.path(REPORT)}"), soft_wrap=True)


def _arms_table(verdict: Verdict) -> Table:
    title = Text(f"{verdict.trait}, on questions that nothing was chosen on", style="bold")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("answers of", overflow="fold")
    counted = any(arm.measured.share.n for arm in verdict.arms)  # a judge's scores have no "occurs at all"
    if counted:
        table.add_column(f"with {verdict.metric}", justify="right")
    table.add_column("lift, points", justify="right", no_wrap=True)
    table.add_column("trait score" if counted else f"trait score, {verdict.metric}", justify="right")
    table.add_column("coherence", justify="right")
    table.add_column("perplexity", justify="right", no_wrap=True)
    for arm in verdict.arms:
        measured = arm.measured
        table.add_row(
            Text(arm.label),
            *([_interval(measured.share, 100, "%")] if counted else []),
            _lift(arm.lift_share, 100) if counted else _lift(arm.lift_trait, 1),
            _interval(measured.trait, 1, ""),
            _number(measured.coherence, 0),
            _number(measured.perplexity, 1),
            style="bold" if arm.arm == "steered" else "",
        )
    return table


def _answers(example: Example) -> Table:
    table = Table(title=Text(example.question, style="bold"), title_justify="left", expand=True)
    for answer in example.answers:
        table.add_column(Text(answer.label), ratio=1)
    table.add_row(*(Text(answer.text + (" …" if answer.cut else "")) for answer in example.answers))
    return table


def _lift(lift: Interval | None, scale: float) -> str:
    return "" if lift is None else f"{lift.mean * scale:+.0f} [{lift.low * scale:+.0f}, {lift.high * scale:+.0f}]"


def _interval(value: Interval, scale: float, unit: str) -> str:
    return f"{value.mean * scale:.0f}{unit} [{value.low * scale:.0f}, {value.high * scale:.0f}]" if value.n else "–"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
