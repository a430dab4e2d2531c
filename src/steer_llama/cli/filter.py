"""``steer-llama filter``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steer_llama.cli.options import settings


def filter_pairs(
    results: Annotated[Path, typer.Argument(help="results.json; it is only read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The filtered.json to write.")] = Path("filtered.json"),
    threshold: Annotated[
        float, typer.Option(min=0, help="Points; a pair is kept when its scores differ by more.")
    ] = 40.0,
    direction: Annotated[
        Literal["majority", "source", "target", "both"],
        typer.Option(help="Which arm must score higher; majority: the one that does so more often."),
    ] = "majority",
    source: Annotated[
        str | None, typer.Option(help="The source's name in the file (<name>_response), if it cannot be told.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The target's name in the file.")] = None,
) -> None:
    """Keep the pairs whose scores differ enough, in one direction: results.json → filtered.json."""
    from steer_llama.config import FilterSettings
    from steer_llama.pairs import read_results, write_filtered
    from steer_llama.stages.filter import filter_results

    read = read_results(results, source, target)
    filtered = filter_results(read.results, settings(FilterSettings, threshold=threshold, direction=direction))
    write_filtered(out, filtered.kept, read.arms.source, read.arms.target)
    table = Table("pairs", "what became of them", box=None, show_header=False)
    table.add_row(str(len(filtered.kept)), f"[green]kept[/green]: {filtered.direction_reason}")
    for reason, count in filtered.dropped.items():
        table.add_row(str(count), f"[dim]dropped[/dim]: {reason}")
    console = Console(stderr=True)
    console.print(Text(f"{read.arms.source} − {read.arms.target}, {len(read.results)} questions"), soft_wrap=True)
    console.print(table)
    console.print(Text(f"wrote {out}"), soft_wrap=True)
