"""``steer-llama sweep``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from steer_llama.cli.options import AnyModel, Device, Devices, Dtype, Model, numbers, settings


def sweep(
    vector: Annotated[Path, typer.Argument(help="The vector to try, of any format that has residual norms.")],
    model: Model,
    elicitation: Annotated[
        str, typer.Option(help="Its dev and test questions are asked: a file, or the name of a packaged trait.")
    ],
    metric: Annotated[
        str | None, typer.Option(help="The measured style feature; default: the one of the vector's trait.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Instead of a metric: a configuration whose judge.endpoint scores."),
    ] = None,
    responses: Annotated[
        Path | None, typer.Option(help="responses.jsonl, for the source's answers to the test questions.")
    ] = None,
    wanted: Annotated[Literal["more", "less"], typer.Option(help="Of the trait, than the target shows.")] = "more",
    out: Annotated[Path, typer.Option("--out", "-o", help="The sweep.jsonl to write.")] = Path("sweep.jsonl"),
    layers: Annotated[str | None, typer.Option(help="With commas, e.g. 8,12,16; default: five in the middle.")] = None,
    strengths: Annotated[str, typer.Option(help="With commas; ‖added‖ over the mean residual norm.")] = (
        "0.1,0.2,0.3,0.4"
    ),
    min_coherence: Annotated[float, typer.Option(min=0, max=100, help="Below this nothing can win.")] = 60.0,
    system_prompt: Annotated[str, typer.Option(help="The target's own system prompt.")] = "",
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.7,
    max_tokens: Annotated[int, typer.Option(min=1, help="Per answer.")] = 64,
    batch_size: Annotated[int, typer.Option(min=1, help="Answers written at once.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the answers, the random directions and the intervals.")] = 0,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
    any_model: AnyModel = False,
) -> None:
    """Find the best layer and strength on dev questions and confirm it once on test questions → sweep.jsonl.

    The verdict is written beside it (<name>.verdict.json).
    """
    from steer_llama.chat import read_responses
    from steer_llama.cli.judging import sweep_scorer
    from steer_llama.cli.opening import opened_for_use
    from steer_llama.config import ModelSettings, Sampling, SweepSettings
    from steer_llama.elicitations import read_elicitation
    from steer_llama.progress import ConsoleReporter
    from steer_llama.records import Demonstration
    from steer_llama.stages.sweep import Question, verdict_path
    from steer_llama.stages.sweep import sweep as run_sweep

    reporter = ConsoleReporter()
    loaded, asked = opened_for_use(vector, reporter), read_elicitation(elicitation)
    answers = read_responses(responses) if responses else []
    sources = {answer.arm for answer in answers if answer.role == "source"}
    with sweep_scorer(config, metric, loaded.trait, asked, elicitation, out, reporter) as scorer:
        run_sweep(
            loaded,
            settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype),
            asked,
            answers,
            Question(
                trait=loaded.trait or "trait",
                scorer=scorer,
                wanted=wanted,
                source_name=next(iter(sources), "source"),
                target_name=loaded.model or "target",
                target_prompt=Demonstration(system_prompt=system_prompt),
                source_prompt=None,
                sampling=settings(Sampling, temperature=temperature, max_tokens=max_tokens, seed=seed),
            ),
            settings(
                SweepSettings,
                layers=None if layers is None else numbers(layers, int, "--layers"),
                strengths=numbers(strengths, float, "--strengths"),
                min_coherence=min_coherence,
                batch_size=batch_size,
                seed=seed,
            ),
            out,
            reporter,
            any_model=any_model,
        )
    reporter.note(f"wrote {out} and {verdict_path(out)}")
