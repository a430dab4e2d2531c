"""``steer-llama generate``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from steer_llama.cli.options import AnyModel, Device, Devices, Dtype, Model, settings


def generate(
    prompts: Annotated[list[str], typer.Argument(help="What to ask.")],
    model: Model,
    vector: Annotated[Path, typer.Option("--vector", help="What to steer with: a vector of any format.")],
    layer: Annotated[int | None, typer.Option(help="0-based block; default: the vector's recommendation.")] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="‖added‖ over the mean residual norm; negative turns it round; default: the recommendation."),
    ] = None,
    coefficient: Annotated[
        float | None, typer.Option(help="Instead of a strength: what the direction is multiplied by.")
    ] = None,
    system_prompt: Annotated[str, typer.Option(help="Before the question.")] = "",
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 is greedy; default: the recommendation's, or 0.7.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Nucleus sampling, 1 is off; default: the recommendation's, or 1.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Over the answer's tokens, 1 is off; default: the recommendation's, or 1.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Per answer.")] = 128,
    seed: Annotated[int, typer.Option(help="Same seed, same answer.")] = 0,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
    any_model: AnyModel = False,
) -> None:
    """Ask the model with and without the vector, and print both answers."""
    from steer_llama.cli.opening import opened_for_use
    from steer_llama.config import ModelSettings, Sampling
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.generate import generate as write

    reporter = ConsoleReporter()
    loaded = opened_for_use(vector, reporter)
    given = {"temperature": temperature, "top_p": top_p, "repetition_penalty": repetition_penalty}
    chosen = {key: value for key, value in given.items() if value is not None}
    answers = write(
        loaded,
        settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype),
        prompts,
        settings(Sampling, **(loaded.recommended_sampling | chosen), max_tokens=max_tokens, seed=seed),
        reporter,
        layer=layer,
        strength=strength,
        coefficient=coefficient,
        system_prompt=system_prompt,
        any_model=any_model,
    )
    console = Console(highlight=False)
    for answer in answers:
        if len(answers) > 1:
            console.print(Text(answer.prompt, style="bold"), soft_wrap=True)
        for name, text in (("unsteered", answer.unsteered), (answer.label, answer.steered)):
            console.print(Text(f"── {name} ──", style="cyan"))
            console.print(Text(text), soft_wrap=True)
            console.print()
