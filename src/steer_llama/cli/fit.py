"""``steer-llama fit``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from steer_llama.cli.options import settings


def fit(
    activations: Annotated[Path, typer.Argument(help="activations.h5, ours or in the seed's layout.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The vector to write.")] = Path("vector.safetensors"),
    positions: Annotated[
        str, typer.Option(help="Tokens that are averaged: a mask for both arms, or chosen=emoji,rejected=response.")
    ] = "response",
    estimator: Annotated[Literal["mean_difference"], typer.Option(help="How the direction is estimated.")] = (
        "mean_difference"
    ),
    trait: Annotated[str, typer.Option(help="The trait's name, for the vector's record.")] = "",
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamplings of the pairs; 0 leaves the evidence out.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the resamplings.")] = 0,
) -> None:
    """Estimate a steering vector, with the evidence for it → vector.safetensors."""
    from steer_llama.config import FitSettings
    from steer_llama.files import check_output
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.fit import fit as estimate
    from steer_llama.vectors import write_vector

    reporter = ConsoleReporter()
    chosen = settings(FitSettings, estimator=estimator, positions=positions, bootstrap=bootstrap, seed=seed)
    check_output(out)
    write_vector(out, estimate(activations, chosen, trait, reporter))
    reporter.note(f"wrote {out}")
