"""``steer-llama extract``."""

from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import Device, Devices, Dtype, Model, settings
from steer_llama.config import DEFAULT_POSITIONS


def extract(
    pairs: Annotated[Path, typer.Option(help="filtered.json, or DPO rows (JSONL) as TRL writes them.")],
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="The activations.h5 to write.")] = Path("activations.h5"),
    positions: Annotated[
        str, typer.Option(help="Masks to pool over, with commas; all are found in one pass.")
    ] = ",".join(DEFAULT_POSITIONS),
    tokens: Annotated[bool, typer.Option("--tokens", help="Store every response token of every layer too.")] = False,
    chosen_field: Annotated[
        str | None, typer.Option(help="Key of the answer with the wanted style, e.g. pi_response.")
    ] = None,
    rejected_field: Annotated[str | None, typer.Option(help="Key of the other answer, e.g. llama_response.")] = None,
    system_prompt: Annotated[str, typer.Option(help="A system prompt before every question that has none.")] = "",
    skip_too_long: Annotated[
        bool, typer.Option("--skip-too-long", help="Keep pairs that do not fit the context out instead of stopping.")
    ] = False,
    save_every: Annotated[int, typer.Option(min=1, help="Pairs between two writes to disk.")] = 10,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
) -> None:
    """Read the model's residual stream over both answers of every pair → activations.h5.

    Interrupted and started again with the same flags, it goes on after the last pairs that were saved.
    """
    from steer_llama.config import ExtractSettings, ModelSettings
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.extract import extract as read

    names = tuple(name.strip() for name in positions.split(",") if name.strip())
    read(
        pairs,
        settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype),
        settings(ExtractSettings, positions=names, tokens=tokens, save_every=save_every, skip_too_long=skip_too_long),
        out,
        ConsoleReporter(),
        chosen_field=chosen_field,
        rejected_field=rejected_field,
        system_prompt=system_prompt,
    )
