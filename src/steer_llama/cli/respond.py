"""``steer-llama respond``."""

from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import ConfigFile, Overrides


def respond(
    config: ConfigFile,
    elicitation: Annotated[
        Path | None, typer.Option(help="The questions; default: the configuration's, or the trait's packaged ones.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The responses.jsonl to write.")] = Path("responses.jsonl"),
    overrides: Overrides = None,
) -> None:
    """Ask the source and the target every question → responses.jsonl.

    Answers are journalled as they arrive: started again, it asks only what is missing.
    """
    from steer_llama.config import load_config
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.elicit import elicit
    from steer_llama.stages.respond import respond as ask

    settings = load_config(config, tuple(overrides or ()))
    if elicitation is not None:
        settings = settings.model_copy(update={"elicitation": elicitation})
    reporter = ConsoleReporter()
    answers = ask(settings, elicit(settings).elicitation, out, reporter)
    reporter.note(f"wrote {len(answers)} answers to {out}")
