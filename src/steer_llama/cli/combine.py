"""``steer-llama combine``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steer_llama.cli.options import AnyModel
from steer_llama.cli.untrusted import plain

if TYPE_CHECKING:
    from steer_llama.stages.combine import Combined

_SHOWN = 6
"""Layers of the table."""


def combine(
    expression: Annotated[
        str,
        typer.Argument(
            help="e.g. 'emoji + 0.5*playful'. There are + - * /, layers as a[12] and a[10:20], unit(a), relative(a), "
            "project_out(a, b), project_onto(a, b), select(a, 3, 5). One that begins with a minus: in brackets, '(-a)'."
        ),
    ],
    vectors: Annotated[
        list[str], typer.Option("--vector", metavar="NAME=FILE", help="A vector of the expression; of any format.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The vector to write.")],
    forms: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="NAME=FORMAT", help="The format of a file that does not tell it."),
    ] = None,
    any_model: AnyModel = False,
) -> None:
    """Make one vector of several, and say how far they get into each other's way → vector.safetensors."""
    from steer_llama.files import check_not_over, check_output
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.combine import combine as evaluate
    from steer_llama.stages.combine import interference, named_files, named_formats
    from steer_llama.stages.vector_files import check_ours
    from steer_llama.vectors import write_vector

    files = named_files(vectors)
    formats = named_formats(forms or (), files)
    check_ours(out)
    check_output(out)
    check_not_over(out, *files.values())
    combined = evaluate(expression, files, forms=formats, any_model=any_model)
    write_vector(out, combined.vector)
    console = Console()
    console.print(_table(combined))
    for line in interference(combined.vector):
        console.print(Text(line), soft_wrap=True)
    reporter = ConsoleReporter()
    for note in combined.notes:
        reporter.note(plain(note, 600).plain)
    then = (
        "it says nothing of the residual's norm either, so `steer-llama sweep` cannot try it: use --layer and "
        "--coefficient"
        if combined.vector.residual_norm_L is None
        else "find its layer and strength with `steer-llama sweep`"
    )
    reporter.note(f"wrote {out}; it has no recommendation: {then}")


def _table(combined: "Combined") -> Table:
    vector = combined.vector
    combination = vector.evidence["combination"]
    layers = sorted(vector.layers)
    rows = [vector.layers.index(layer) for layer in _some(layers)]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(Text("layer"), overflow="fold")
    for row in rows:
        table.add_column(str(vector.layers[row]), justify="right", no_wrap=True)
    norms = {f"‖{name}‖": _norms(combined, name, layers) for name in combined.parents}
    norms["‖result‖"] = dict(zip(vector.layers, vector.evidence["norm"], strict=True))
    for title, by_layer in norms.items():
        table.add_row(Text(title), *(f"{by_layer[vector.layers[row]]:#.3g}".rstrip(".") for row in rows))
    if vector.residual_norm_L is not None:
        shares = [vector.evidence["norm"][row] / float(vector.residual_norm_L[row]) for row in rows]
        table.add_row("‖result‖ / ‖residual‖", *(f"{share:.2f}" for share in shares))
    for pair in combination["cosines"]:
        table.add_row(Text(f"cosine {' '.join(pair['between'])}"), *(_number(pair["cosine"][row]) for row in rows))
    for name, kept in combination["kept"].items():
        table.add_row(Text(f"kept of {name}"), *(_number(kept[row]) for row in rows))
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}"  # never "-0.00"


def _norms(combined: "Combined", name: str, layers: Sequence[int]) -> dict[int, float]:
    from steer_llama.vectors.columns import norm_column

    parent = combined.parents[name]
    by_layer = dict(zip(parent.layers, norm_column(parent).value or (), strict=True))
    return {layer: by_layer[layer] or 0.0 for layer in layers}


def _some(layers: Sequence[int]) -> list[int]:
    """A few layers, spread evenly, the first and the last among them."""
    if len(layers) <= _SHOWN:
        return list(layers)
    return [layers[round(step * (len(layers) - 1) / (_SHOWN - 1))] for step in range(_SHOWN)]
