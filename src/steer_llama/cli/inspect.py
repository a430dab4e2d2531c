"""``steer-llama inspect``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steer_llama.cli.facts import FINGERPRINT, facts_in_words
from steer_llama.cli.layer_table import show_layers
from steer_llama.cli.untrusted import plain

if TYPE_CHECKING:
    from steer_llama.stages.inspect import Cosines, Inspected


def inspect(
    files: Annotated[list[Path], typer.Argument(help="Vectors, of any format.")],
    form: Annotated[
        str | None, typer.Option("--format", help="Their format, where a file does not tell it.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    png: Annotated[
        Path | None, typer.Option(help="Draw the evidence over the layers into this file.", show_default=False)
    ] = None,
    every_layer: Annotated[
        bool, typer.Option("--every-layer", help="Every layer in the table, however many there are.")
    ] = False,
) -> None:
    """Show what a vector's file holds and what speaks for it, layer by layer; several files: their cosines too."""
    import json

    from steer_llama.errors import VectorError
    from steer_llama.files import check_output
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.inspect import as_json as json_of
    from steer_llama.stages.inspect import compare
    from steer_llama.stages.inspect import inspect as read

    if png is not None:
        check_output(png)
    inspected = [one for path in files for one in read(path, form)]
    between, apart = None, ""
    if len(inspected) > len(files) > 1:
        apart = "a file does not tell its format."
    elif len(files) > 1:
        try:
            between = compare(inspected)
        except VectorError as error:
            apart = str(error)
    if png is not None:
        from steer_llama.vectors.picture import draw

        draw(png, [(_name(one, inspected), one.vector) for one in inspected])
    if as_json:
        print(json.dumps(json_of(inspected, between, apart), ensure_ascii=False, allow_nan=False))
    else:
        console = Console()
        for one in inspected:
            _show(console, one, every_layer)
        if between is not None:
            _show_cosines(console, between, inspected)
        elif apart:
            console.print(Text("no cosines between them: ").append_text(plain(apart, 600)), soft_wrap=True)
    if png is not None:
        ConsoleReporter().note(f"wrote {png}")


def _show(console: Console, one: "Inspected", every_layer: bool) -> None:
    console.print(plain(str(one.path)), style="bold", soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for title, value in _head(one):
        table.add_row(title, plain(value))
    for note in one.notes:
        table.add_row("note", plain(note, 600), style="yellow")
    for title, value in facts_in_words(one.facts):
        table.add_row(plain(title, 40), plain(value))
    console.print(table)
    show_layers(console, one, every_layer)
    console.print()


def _head(one: "Inspected") -> list[tuple[str, str]]:
    from steer_llama.vectors.layer_ranges import layer_ranges

    vector = one.vector
    best, strength = vector.recommended_layer, vector.recommended_strength
    recommended = "nothing" if best is None else f"layer {best}"
    if strength is not None:
        recommended += f", strength {strength:g}"
    found = [
        ("format", f"{one.form.name}: {one.form.title}"),
        ("its layers", one.form.layer_convention),
        ("model", vector.model or vector.model_type or "not known"),
        ("fingerprint", vector.model_fingerprint[:FINGERPRINT] or "not known"),
        ("dtype", vector.dtype),
        ("trait", vector.trait or "not known"),
        ("estimator", vector.estimator or "not known"),
        ("positions", vector.positions or "not known"),
        ("layers", f"{len(vector.layers)}: {layer_ranges(sorted(vector.layers))}, each {vector.width} wide"),
        ("recommended", recommended),
    ]
    if vector.residual_norm_L is None:
        found.append(("residual", "its norm is not known, so that a strength has no meaning: give coefficients"))
    return [(title, value) for title, value in found if value]


def _show_cosines(console: Console, between: "Cosines", inspected: "list[Inspected]") -> None:
    import numpy as np

    by_layer_LKK = np.asarray(between.by_layer_LKK)
    if between.layer is None:
        where, matrix_KK = f"mean over {len(between.layers)} layers", by_layer_LKK.mean(axis=0)
    else:
        where, matrix_KK = f"at layer {between.layer}", by_layer_LKK[between.layers.index(between.layer)]
    table = Table(
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=f"cosines, {where}", title_justify="left"
    )
    table.add_column("", overflow="fold")
    for number in range(len(inspected)):
        table.add_column(str(number + 1), justify="right", no_wrap=True)
    for number, (one, row_K) in enumerate(zip(inspected, matrix_KK, strict=True)):
        label = Text(f"{number + 1} ").append_text(plain(_name(one, inspected), 60))
        table.add_row(label, *(f"{cosine:.2f}" for cosine in row_K.round(2) + 0.0))
    console.print(table)
    if between.layer is None or len(between.layers) > 1:
        apart_LKK = by_layer_LKK[:, ~np.eye(len(inspected), dtype=bool)]
        low, high = apart_LKK.min(), apart_LKK.max()
        console.print(Text(f"over all layers between {low:.2f} and {high:.2f}; each layer's in --json", style="dim"))


def _name(one: "Inspected", inspected: "list[Inspected]") -> str:
    """The trait, where every file has another one; else the path."""
    traits = [other.vector.trait for other in inspected]
    return one.vector.trait if one.vector.trait and len(set(traits)) == len(traits) else str(one.path)
