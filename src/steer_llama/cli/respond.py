"""``steer-llama respond``."""

from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import ConfigFile, Overrides


def respond(
    config: ConfigFile,
    elicitation: Annotated[
        str | None,
        typer.Option(help="A file, or a packaged trait; default: the configuration's, or its trait's packaged one."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The responses.jsonl to write.")] = Path("responses.jsonl"),
    overrides: Overrides = None,
) -> None:
    """Ask the source and the target every question → responses.jsonl.

    Answers are journalled as they arrive: started again, it asks only what is missing.
    """
    from steer_llama.config import load_config
    from steer_llama.elicitations import is_path
    from steer_llama.packaged import elicitation_path
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.elicit import elicit
    from steer_llama.stages.respond import respond as ask

    settings = load_config(config, tuple(overrides or ()))
    if elicitation is not None:
        path = Path(elicitation) if is_path(elicitation) else elicitation_path(elicitation)
        settings = settings.model_copy(update={"elicitation": path})
    reporter = ConsoleReporter()
    answers = ask(settings, elicit(settings).elicitation, out, reporter)
    reporter.note(f"wrote {len(answers)} answers to {out}")
