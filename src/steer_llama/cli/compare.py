"""``steer-llama compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from steer_llama.evaluation.agreement import ScoreAgreement
    from steer_llama.stages.compare import Comparison


def compare(
    first: Annotated[Path, typer.Argument(help="results.json of a judge.")],
    second: Annotated[Path | None, typer.Argument(help="results.json of another judge, over the same answers.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="A style feature to count; with one file, the other side of the comparison.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, help="Points; a pair is decided when its scores differ by more.")
    ] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say how far two judges agree (or one and a measured feature): correlation, agreement, Cohen's kappa."""
    import json
    from dataclasses import asdict

    from steer_llama.stages.compare import compare as compared
    from steer_llama.style import get_metric

    found = compared(first, second, get_metric(metric) if metric else None, threshold)
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=2))
        return
    console = Console()
    console.print(Text(f"{found.first} and {found.second}"), soft_wrap=True)
    for line in _left_out(found):
        console.print(Text(line), soft_wrap=True)
    scores = {"answers": found.scores, "pairs (source − target)": found.differences}
    scores |= {f"answers, {name} and {metric}": row for name, row in found.with_metric.items()}
    console.print(_scores({what: row for what, row in scores.items() if row.answers}))
    console.print(_decisions(found))


def _left_out(found: "Comparison") -> list[str]:
    lines = [f"{found.pairs} questions with the same two answers"]
    if found.different:
        lines.append(f"{found.different} questions have other answers in the second file; they are left out")
    if found.only_in_one:
        lines.append(f"{found.only_in_one} questions stand in one file only; they are left out")
    return lines


def _scores(rows: "dict[str, ScoreAgreement]") -> Table:
    table = Table("scores of", title="the scores of both", title_justify="left", box=SIMPLE_HEAD)
    for name in ("n", "Pearson r", "Spearman ρ", "mean difference", "mean |difference|"):
        table.add_column(name, justify="right")
    for name, row in rows.items():
        table.add_row(
            Text(name),
            str(row.answers),
            _number(row.pearson, 2),
            _number(row.spearman, 2),
            _number(row.mean_difference, 1),
            _number(row.mean_absolute_difference, 1),
        )
    return table


def _decisions(found: "Comparison") -> Table:
    title = f"pair by pair: who scores higher by more than {found.threshold:g} points"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_header=False)
    decisions = found.decisions
    table.add_row("pairs scored by both", str(decisions.pairs))
    table.add_row("same decision", "–" if decisions.agreement is None else f"{decisions.agreement:.0%}")
    undefined = "undefined: all decisions are the same one, so chance agrees as well"
    table.add_row("Cohen's kappa", _number(decisions.kappa, 2) if decisions.kappa is not None else undefined)
    for both, count in decisions.counts.items():
        one, other = both.split("/")
        table.add_row(f"first says {one}, second says {other}", str(count))
    return table


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
