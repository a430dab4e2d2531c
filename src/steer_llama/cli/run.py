"""``steer-llama run``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import Overrides


def run(
    config: Annotated[Path, typer.Argument(help="The run's configuration (YAML).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder; started again, it goes on there.")],
    trait: Annotated[str | None, typer.Option(help="Instead of the configuration's.")] = None,
    overrides: Overrides = None,
) -> None:
    """Run the whole pipeline from one YAML; resumes, and runs again only what a changed setting changes."""
    from steer_llama.cli.running import run_and_show
    from steer_llama.config import load_config

    changes = (*(overrides or ()), *((f"trait={json.dumps(trait)}",) if trait else ()))
    run_and_show(load_config(config, changes), out)
