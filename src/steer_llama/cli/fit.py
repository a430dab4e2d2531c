"""``steer-llama fit``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from steer_llama.cli.options import Device, Devices, Dtype, numbers, settings


def fit(
    activations: Annotated[Path, typer.Argument(help="activations.h5, ours or in the seed's layout.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The vector to write.")] = Path("vector.safetensors"),
    positions: Annotated[
        str, typer.Option(help="Tokens that are averaged: a mask for both arms, or chosen=emoji,rejected=response.")
    ] = "response",
    estimator: Annotated[
        Literal["mean_diff", "robust_mean_diff", "pca", "logistic", "lda", "trained"],
        typer.Option(help="How the direction is estimated (docs/method.md)."),
    ] = "mean_diff",
    match: Annotated[
        str, typer.Option(help="Confounds to match the arms on: position, length, token; several with commas.")
    ] = "",
    project_out_mean: Annotated[
        bool, typer.Option("--project-out-mean", help="Take the mean of both arms out of the directions.")
    ] = False,
    orthogonal_to: Annotated[
        list[Path] | None, typer.Option(help="A vector of another trait to take out; may be given several times.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="For trained: the pairs that the activations were read from.")
    ] = None,
    chosen_field: Annotated[str | None, typer.Option(help="For trained: key of the answer with the wanted style.")] = (
        None
    ),
    rejected_field: Annotated[str | None, typer.Option(help="For trained: key of the other answer.")] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="For trained: a folder, a GGUF file, a hub id, or smollm2.")
    ] = "",
    layers: Annotated[
        str | None, typer.Option(help="For trained: 0-based blocks, with commas; each takes a training.")
    ] = None,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
    trait: Annotated[str, typer.Option(help="The trait's name, for the vector's record.")] = "",
    bootstrap: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Resamplings of the pairs; 0 leaves the evidence out; default: 200 for mean_diff, 50 for the others.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamplings.")] = 0,
) -> None:
    """Estimate a steering vector, with the evidence for it → vector.safetensors."""
    from steer_llama.config import FitSettings, ModelSettings
    from steer_llama.errors import ConfigError
    from steer_llama.files import check_output
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.conversations import PairsFile
    from steer_llama.stages.fit import fit as estimate
    from steer_llama.stages.fit import fit_trained
    from steer_llama.stages.vector_files import check_ours
    from steer_llama.vectors import write_vector

    reporter = ConsoleReporter()
    chosen = settings(
        FitSettings,
        estimator=estimator,
        positions=positions,
        match=tuple(name.strip() for name in match.split(",") if name.strip()),
        project_out_mean=project_out_mean,
        orthogonal_to=tuple(orthogonal_to or ()),
        bootstrap=bootstrap,
        seed=seed,
        layers=None if layers is None else numbers(layers, int, "--layers"),
    )
    check_ours(out)
    check_output(out)
    if estimator == "trained":
        if pairs is None or not model:
            raise ConfigError("--estimator trained needs --pairs and --model: it is trained through the model.")
        where = settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype)
        file = PairsFile(pairs, chosen_field, rejected_field)
        vector = fit_trained(activations, file, where, chosen, trait, reporter)
    elif pairs is not None or model or chosen_field is not None or rejected_field is not None:
        raise ConfigError(
            "--pairs, --chosen-field, --rejected-field and --model are for --estimator trained; "
            f"{estimator} needs the activations alone."
        )
    else:
        vector = estimate(activations, chosen, trait, reporter)
    write_vector(out, vector)
    reporter.note(f"wrote {out}")
