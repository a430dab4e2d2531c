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
    vectors: Annotated[
        list[str] | None,
        typer.Option("--vector", metavar="[NAME=]FILE", help="What to steer with: a vector of any format; several."),
    ] = None,
    steers: Annotated[
        list[str] | None,
        typer.Option(
            "--steer",
            metavar="NAME@LAYERS:STRENGTH",
            help="How, e.g. emoji@12:0.4, emoji@10-14:0.2:where=response, emoji@12:mode=project_out "
            "(docs/steering.md); several; default: every vector as it recommends.",
        ),
    ] = None,
    steers_file: Annotated[
        Path | None, typer.Option("--steers", help="Instead of vectors: what `steer-llama tune` found.")
    ] = None,
    layer: Annotated[
        int | None, typer.Option(help="Of the only vector: 0-based block; default: its recommendation.")
    ] = None,
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
    """Ask the model with and without steering, and print both answers."""
    from steer_llama.cli.opening import opened_for_use
    from steer_llama.config import ModelSettings, Sampling
    from steer_llama.errors import ConfigError
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.generate import generate as write
    from steer_llama.stages.named_vectors import files_of, named
    from steer_llama.stages.size import Size
    from steer_llama.stages.steers import check_named, steers_from_flags
    from steer_llama.stages.steers_file import read_steers

    reporter = ConsoleReporter()
    if (steers_file is None) == (not vectors):
        raise ConfigError("give --vector, once or more, or --steers with what `steer-llama tune` wrote.")
    if steers_file is not None:
        steers_from_flags((), (), layer, Size(strength, coefficient))
        files, asked = read_steers(steers_file)
        loaded = {name: opened_for_use(path, reporter) for name, path in files.items()}
    else:
        pairs = files_of(vectors or ())
        opened = named(pairs, [opened_for_use(path, reporter) for _, path in pairs])
        loaded = {name: vector for name, (_, vector) in opened.items()}
        asked = steers_from_flags(steers or (), list(loaded), layer, Size(strength, coefficient))
    check_named(asked, loaded)
    given = {"temperature": temperature, "top_p": top_p, "repetition_penalty": repetition_penalty}
    chosen = {key: value for key, value in given.items() if value is not None}
    recommended = next(iter(loaded.values())).recommended_sampling
    answers = write(
        asked,
        loaded,
        settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype),
        prompts,
        settings(Sampling, **(recommended | chosen), max_tokens=max_tokens, seed=seed),
        reporter,
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
