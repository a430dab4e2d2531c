"""``steer-llama judge``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text


def judge(
    responses: Annotated[Path, typer.Option(help="responses.jsonl with the answers of both arms.")],
    metric: Annotated[str, typer.Option(help="The measured style feature that stands for the trait, e.g. emoji.")],
    elicitation: Annotated[
        str | None,
        typer.Option(help="A file, or a packaged trait: judge the answers to its questions only, in their order."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The results.json to write.")] = Path("results.json"),
) -> None:
    """Score every answer by a measured style feature: responses.jsonl → results.json."""
    from steer_llama.chat import read_responses
    from steer_llama.elicitations import read_elicitation
    from steer_llama.pairs import write_results
    from steer_llama.stages.judge import arms_of, in_order, judge_responses, summary
    from steer_llama.style import get_metric

    chosen = get_metric(metric)
    answers = read_responses(responses)
    if elicitation is not None:
        answers = in_order(answers, read_elicitation(elicitation), str(responses))
    arms = arms_of(answers)
    results = judge_responses(answers, chosen)
    write_results(out, results, arms.source, arms.target)
    Console(stderr=True).print(Text(f"{summary(results, chosen, arms)}; wrote {out}"), soft_wrap=True)
