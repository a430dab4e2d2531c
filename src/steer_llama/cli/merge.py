"""``steer-llama merge``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text


def merge(
    files: Annotated[list[Path], typer.Argument(help="Files in the format of filtered.json, of the same two arms.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The filtered.json to write.")],
    keep: Annotated[
        Literal["first", "last"] | None,
        typer.Option(help="Whose answers stay where the files contradict each other; without it that is an error."),
    ] = None,
) -> None:
    """Merge several filtered.json into one; contradictions are named, never settled silently."""
    from steer_llama.files import write_json
    from steer_llama.stages.merge import merge_filtered

    merged = merge_filtered(files, keep)
    write_json(out, merged.pairs)
    settled = f", {len(merged.conflicts)} contradictions settled by --keep {keep}" if merged.conflicts else ""
    said = f"{len(merged.pairs)} pairs from {len(files)} files, {merged.repeated} repeated{settled}; wrote {out}"
    Console(stderr=True).print(Text(said), soft_wrap=True)
