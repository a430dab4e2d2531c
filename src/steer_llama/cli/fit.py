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
    estimator: Annotated[
        Literal["mean_diff", "robust_mean_diff", "pca", "logistic", "lda"],
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
    trait: Annotated[str, typer.Option(help="The trait's name, for the vector's record.")] = "",
    bootstrap: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Resamplings of the pairs; 0 leaves the evidence out; default: 200 for mean_diff, 50 for the others.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the resamplings.")] = 0,
) -> None:
    """Estimate a steering vector, with the evidence for it → vector.safetensors."""
    from steer_llama.config import FitSettings
    from steer_llama.files import check_output
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.fit import fit as estimate
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
    )
    check_output(out)
    write_vector(out, estimate(activations, chosen, trait, reporter))
    reporter.note(f"wrote {out}")
