"""``steer-llama export``."""

from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import FORMAT_NAMES, GivenFormat, ModelType


def export(
    given: Annotated[Path, typer.Argument(metavar="VECTOR", help="A vector of any format; for dpo a file of pairs.")],
    to: Annotated[str, typer.Option("--to", help=f"{FORMAT_NAMES}; or dpo: the pairs as a preference dataset of TRL.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    layer: Annotated[list[int] | None, typer.Option(help="Only this 0-based block; again for more. Default: all.")] = (
        None
    ),
    strength: Annotated[
        float | None, typer.Option(help="Multiply out to ‖added‖ over the mean residual norm; default: as it is.")
    ] = None,
    coefficient: Annotated[float | None, typer.Option(help="Multiply out by this number instead.")] = None,
    given_format: GivenFormat = "",
    model_type: ModelType = "",
) -> None:
    """Write a vector for another tool, which then adds it with a scale of 1; what is lost is said."""
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.export import Wanted
    from steer_llama.stages.export import export as write

    wanted = Wanted(tuple(layer or ()), strength, coefficient)
    write(given, to, out, ConsoleReporter(), wanted, given_format=given_format, model_type=model_type)
