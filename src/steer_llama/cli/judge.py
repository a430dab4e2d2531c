"""``steer-llama judge``."""

from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import Overrides


def judge(
    responses: Annotated[
        Path, typer.Option(help="The answers of both arms: responses.jsonl, results.json or filtered.json.")
    ],
    elicitation: Annotated[
        str | None,
        typer.Option(help="A file, or a packaged trait: its questions are judged, by its evaluation prompt."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Score by counting this style feature: emoji, markdown, length …")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Score by the model of its judge.endpoint (without one: by its metric)."),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Judgements per answer, averaged; default: judge.repeats.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The results.json to write.")] = Path("results.json"),
    overrides: Overrides = None,
) -> None:
    """Score every answer, by a judge model (-c) or by counting (--metric) → results.json.

    The judge's replies are journalled as they arrive: started again, it asks only what is missing.
    """
    from steer_llama.cli.judging import judge_answers, judging_config
    from steer_llama.progress import ConsoleReporter

    reporter = ConsoleReporter()
    loaded = judging_config(config, metric, tuple(overrides or ()))
    judge_answers(loaded, metric, responses, elicitation, repeats, out, reporter)
    reporter.note(f"wrote {out}")
