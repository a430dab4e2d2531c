"""``steer-llama plan``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from steer_llama.cli.options import Dtype, numbers
from steer_llama.config import DEFAULT_POSITIONS


def plan(
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A packaged shape (llama-3.3-70b …), a folder, a config.json, smollm2, or a hub id."
        ),
    ],
    gpus: Annotated[str, typer.Option(help="How many of which, e.g. 8xH100; or cpu, whose speed is measured now.")],
    pairs: Annotated[int | None, typer.Option(min=1, help="Pairs of answers; default: 1000.")] = None,
    pairs_file: Annotated[
        Path | None, typer.Option(help="Instead of --pairs: filtered.json or DPO rows, whose tokens are counted.")
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="That both conversations of a pair begin with; default: 40.")
    ] = None,
    answer_tokens: Annotated[int | None, typer.Option(min=1, help="Of each answer; default: 170.")] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Kept layers, with commas, e.g. 20,40; default: all. None above them is computed."),
    ] = None,
    positions: Annotated[str, typer.Option(help="Masks that means are taken over, with commas.")] = ",".join(
        DEFAULT_POSITIONS
    ),
    tokens: Annotated[bool, typer.Option("--tokens", help="Store every response token of the layers too.")] = False,
    dtype: Dtype = "auto",
    parallel: Annotated[
        Literal["layers", "tensor"],
        typer.Option(help="layers: spread over the GPUs, which gives memory; tensor: every layer divided, speed too."),
    ] = "layers",
    token_budget: Annotated[int, typer.Option(min=1, help="Tokens of a forward pass.")] = 1024,
    mfu: Annotated[
        float | None, typer.Option(help="Share of the peak that is reached; default: 0.45 on GPUs (assumed).")
    ] = None,
    tflops: Annotated[
        float | None, typer.Option(help="Peak of one device; default: its data sheet's, on a CPU measured.")
    ] = None,
    disk: Annotated[float, typer.Option(help="GB/s that weights are read and files written with.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Say from a model's config alone whether it fits, how long extracting takes and how large the file gets.

    The answer comes first, then the arithmetic. Where the model does not fit, that is an answer too (exit code 0).
    """
    import json
    from dataclasses import asdict

    from steer_llama.cli.planning import answer, arithmetic
    from steer_llama.errors import ConfigError
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages import plan as stage

    counts = {"pairs": pairs, "prompt_tokens": prompt_tokens, "answer_tokens": answer_tokens}
    given = {name: value for name, value in counts.items() if value is not None}
    if pairs_file is not None and given:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"--pairs-file says how many pairs and tokens there are; leave {flags} out.")
    asked = stage.Asked(
        model=model,
        gpus=gpus,
        pairs_file=pairs_file,
        layers=None if layers is None else numbers(layers, int, "--layers"),
        positions=tuple(name.strip() for name in positions.split(",") if name.strip()),
        tokens=tokens,
        dtype=dtype,
        parallel=parallel,
        token_budget=token_budget,
        mfu=mfu,
        tflops=tflops,
        disk=disk,
        **given,
    )
    found = stage.plan(asked, ConsoleReporter())
    if as_json:
        sums = {"seconds_in_all": found.seconds.total, "bytes_of_the_fullest": found.fullest.total}
        sums |= {"file_bytes": found.file.total, "flops": found.work.flops, "parameters": found.shape.parameters}
        print(json.dumps(asdict(found) | sums, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    console.print(answer(found), soft_wrap=True)
    console.print(arithmetic(found))
