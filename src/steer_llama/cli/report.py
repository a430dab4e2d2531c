"""``steer-llama report``."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    sweep: Annotated[Path, typer.Argument(help="sweep.jsonl (its verdict lies beside it), or a run folder.")],
    vector: Annotated[
        Path | None, typer.Option(help="The vector: its evidence is shown, and the recommendation is written into it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The page; default: report.html beside it.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Questions whose answers stand side by side.")] = 6,
) -> None:
    """Write the report as one HTML page, and the recommended layer and strength into the vector."""
    from steer_llama.progress import ConsoleReporter
    from steer_llama.rundir import REPORT, SWEEP, VECTOR
    from steer_llama.stages.report import report as write

    if sweep.is_dir():
        vector = vector or sweep / VECTOR
        sweep = sweep / SWEEP
    out = out or sweep.with_name(REPORT)
    write(sweep, vector, out, examples)
    ConsoleReporter().note(f"wrote {out}")
