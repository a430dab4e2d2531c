"""``steer-llama demo``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import Overrides


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder; started again, it goes on there.")] = (
        Path("out/demo")
    ),
    trait: Annotated[str, typer.Option(help="emoji, formatting, playful, or the path of a trait's JSON.")] = "emoji",
    overrides: Overrides = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the demo's configuration, to start your own from.")
    ] = False,
) -> None:
    """See it all work: the whole pipeline on a small packaged model, offline, in a few minutes."""
    from steer_llama.packaged import demo_config

    if print_config:
        typer.echo(demo_config(), nl=False)
        return

    from steer_llama.cli.running import run_and_show
    from steer_llama.config import parse_config

    config = parse_config(demo_config(), "the demo's configuration", (f"trait={json.dumps(trait)}", *(overrides or ())))
    run_and_show(config, out)
