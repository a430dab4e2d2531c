"""``steer-llama elicit``."""

from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import ConfigFile, Overrides


def elicit(
    trait: Annotated[str, typer.Argument(help="A packaged trait, or the path of a trait's JSON.")],
    config: ConfigFile,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .json to write, or a folder for elicitation.json.")
    ] = Path("elicitation.json"),
    overrides: Overrides = None,
) -> None:
    """Have the author model write instruction pairs, questions and the evaluation prompt → elicitation.json.

    Its replies are journalled as they arrive: started again, it asks only what is missing.
    """
    from steer_llama.config import load_config
    from steer_llama.elicitations import read_trait
    from steer_llama.errors import ConfigError
    from steer_llama.progress import ConsoleReporter
    from steer_llama.rundir import ELICITATION
    from steer_llama.stages.elicit import have_written, summary

    settings = load_config(config, tuple(overrides or ()))
    if settings.author is None:
        raise ConfigError(
            f"{config}: no 'author' to write what is asked. Add one: author: {{endpoint: {{base_url: …, model: …}}}}."
        )
    file = out if out.suffix == ".json" else out / ELICITATION
    reporter = ConsoleReporter()
    written = have_written(read_trait(trait), settings.author, settings.budget, file, reporter, others=())
    reporter.note(f"{summary(written.elicitation)}, {written.effort}; wrote {file}")
