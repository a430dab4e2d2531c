"""``steer-llama convert``."""

from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import GivenFormat, ModelType


def convert(
    given: Annotated[Path, typer.Argument(metavar="IN", help="A vector of any format.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    given_format: GivenFormat = "",
    to: Annotated[str, typer.Option("--to", help="OUT's format; default: by its ending, where that tells it.")] = "",
    model_type: ModelType = "",
) -> None:
    """Write a vector of one tool in the format of another; what is lost is said."""
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.convert import convert as write

    write(given, out, ConsoleReporter(), given_format=given_format, out_format=to, model_type=model_type)
