"""``steer-llama export``."""

from pathlib import Path
from typing import Annotated

import typer

from steer_llama.cli.options import FORMAT_NAMES, AnyModel, Device, Devices, Dtype, GivenFormat, ModelType, settings


def export(
    given: Annotated[Path, typer.Argument(metavar="VECTOR", help="A vector of any format; for dpo a file of pairs.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help=f"{FORMAT_NAMES}; checkpoint: a model's folder with the vector baked in; dpo: the pairs as a "
            "preference dataset of TRL.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write; for checkpoint, a folder.")],
    layer: Annotated[
        list[int] | None,
        typer.Option(
            help="Only this 0-based block; again for more. Default: all; for checkpoint, the vector's recommendation."
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            help="Multiply out to ‖added‖ over the mean residual norm; default: as it is; for checkpoint, the vector's "
            "recommendation."
        ),
    ] = None,
    coefficient: Annotated[float | None, typer.Option(help="Multiply out by this number instead.")] = None,
    given_format: GivenFormat = "",
    model_type: ModelType = "",
    model: Annotated[
        str, typer.Option("--model", "-m", help="For checkpoint: a folder of safetensors, a hub id, or smollm2.")
    ] = "",
    verify: Annotated[
        bool, typer.Option(help="For checkpoint: load both models and compare their logits with a hook's.")
    ] = True,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
    any_model: AnyModel = False,
) -> None:
    """Write a vector for another tool, or a model that is always steered; what is lost is said."""
    from steer_llama.config import ModelSettings
    from steer_llama.errors import ConfigError
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.export import Target, Wanted
    from steer_llama.stages.export import export as write

    wanted = Wanted(tuple(layer or ()), strength, coefficient)
    of_a_model = {
        "--no-verify": not verify,
        "--device": device != "auto",
        "--n-devices": n_devices != 1,
        "--dtype": dtype != "auto",
        "--any-model": any_model,
    }
    if not model and (without := [flag for flag, given_it in of_a_model.items() if given_it]):
        raise ConfigError(f"{', '.join(without)}: only for --to checkpoint with --model; leave it out.")
    target = None
    if model:
        where = settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype)
        target = Target(where, any_model, verify)
    reporter = ConsoleReporter()
    write(given, to, out, reporter, wanted, given_format=given_format, model_type=model_type, target=target)
