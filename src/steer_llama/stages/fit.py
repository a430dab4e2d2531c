"""``fit``: estimates the steering vector of every layer from activations, with the evidence for it."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from steer_llama.activations import Activations, PositionChoice, measure_confounds, open_activations
from steer_llama.config import Config, FitSettings, ModelSettings
from steer_llama.errors import ConfigError, FileError
from steer_llama.files import digest_file
from steer_llama.lm.load import load_model
from steer_llama.progress import Reporter
from steer_llama.rundir import ACTIVATIONS, FILTERED, VECTOR, RunDir
from steer_llama.stages.conversations import PairsFile
from steer_llama.stages.stage import Stage
from steer_llama.stages.train import ESTIMATOR as TRAINED
from steer_llama.stages.train import train_vector
from steer_llama.stages.vector_files import read_any
from steer_llama.vectors import (
    LINEAR,
    LayerEvidence,
    Matching,
    Recipe,
    Resampling,
    SteeringVector,
    as_columns,
    layer_evidence,
    write_vector,
)

START = "mean_diff"
"""What training begins from."""
_RESAMPLINGS = {True: 200, False: 50}
"""By default, for an estimator that is linear in the pairs and for one that is not."""


def fit(activations_path: Path, settings: FitSettings, trait: str, reporter: Reporter) -> SteeringVector:
    """Estimate a vector; one layer is in memory at a time.

    Raises:
        FileError: the activations cannot be read, or are not finite.
        ConfigError: they do not hold the positions that are asked for, or confounds cannot be matched.
        VectorError: a vector to be orthogonal to is not of this model.
    """
    choice = PositionChoice.parse(settings.positions)
    fitted: list[_Fitted] = []
    with open_activations(activations_path, choice) as data:
        recipe = _recipe(data, settings)
        resampling = Resampling.draw(data.n_pairs, _count(settings), settings.seed)
        with reporter.task("fitting", len(data.layers), "layers") as advance:
            for layer in data.layers:
                fitted.append(_fitted(activations_path, data, layer, recipe, resampling))
                advance(1)
        fallback = {"chosen": data.fallbacks("chosen"), "rejected": data.fallbacks("rejected")}
    for (arm, count), positions in zip(fallback.items(), (choice.chosen, choice.rejected), strict=True):
        if count:
            reporter.note(
                f"{count} of {data.n_pairs} {arm} answers have no {positions} tokens: "
                "all their response tokens are averaged instead"
            )
    norms = [layer.residual_norm for layer in fitted]
    evidence = [layer.evidence for layer in fitted]
    vector = SteeringVector(
        directions_LD=np.stack([layer.direction_D for layer in fitted]).astype(np.float32),
        layers=data.layers,
        residual_norm_L=np.asarray(norms, dtype=np.float32),
        model=data.model,
        model_fingerprint=data.model_fingerprint,
        trait=trait,
        estimator=settings.estimator,
        positions=str(choice),
        dtype=data.dtype,
        revision=data.revision,
        model_type=data.model_type,
        evidence={
            "pairs": data.n_pairs,
            "layers": list(data.layers),
            "residual_norm": norms,
            "relative_norm": [layer.norm / norm for layer, norm in zip(evidence, norms, strict=True)],
            "fallback": fallback,
            "data_fingerprint": data.fingerprint,
            "resamplings": len(resampling.redrawn_RN) if resampling else 0,
            "folds": len(resampling.folds_FN) if resampling else 0,
            "seed": settings.seed,
            "steer_llama": version("steer-llama"),
            **as_columns(evidence),
            **_options(recipe, [layer.costs for layer in fitted]),
        },
    )
    reporter.note(f"{data.n_pairs} pairs, {settings.estimator} over {choice}: {_strongest(vector)}")
    for note in _warnings(vector):
        reporter.note(note)
    return vector


@dataclass(frozen=True)
class _Fitted:
    """What is found at one layer."""

    direction_D: npt.NDArray[np.float64]
    residual_norm: float
    evidence: LayerEvidence
    costs: dict[str, float]


def _fitted(path: Path, data: Activations, layer: int, recipe: Recipe, resampling: Resampling | None) -> _Fitted:
    chosen_ND, rejected_ND = data.means("chosen", layer), data.means("rejected", layer)
    if not chosen_ND.shape == rejected_ND.shape == (data.n_pairs, *chosen_ND.shape[1:]):
        raise FileError(
            f"{path}: {chosen_ND.shape} and {rejected_ND.shape} means at layer {layer}, expected {data.n_pairs} pairs "
            "of one width. Extract again."
        )
    if not (np.isfinite(chosen_ND).all() and np.isfinite(rejected_ND).all()):
        raise FileError(f"{path}: NaN or infinity at layer {layer}. Extract again in float32.")
    residual_norm = data.residual_norm(layer)
    if not residual_norm > 0:
        raise FileError(f"{path}: the residual stream is zero at layer {layer}. Extract again.")
    recipe.check_fits(data.model, data.model_fingerprint, data.layers, chosen_ND.shape[1])
    estimate = recipe.at(layer)
    return _Fitted(
        direction_D=estimate(chosen_ND, rejected_ND)[0],
        residual_norm=residual_norm,
        evidence=layer_evidence(estimate, chosen_ND, rejected_ND, resampling),
        costs=recipe.costs(layer, chosen_ND, rejected_ND, resampling),
    )


def _recipe(data: Activations, settings: FitSettings) -> Recipe:
    matching = None
    if settings.match:
        confounds = measure_confounds(data.averaged("chosen"), data.averaged("rejected"), settings.match)
        matching = Matching(confounds.check())
    names = [path.stem for path in settings.orthogonal_to]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"--orthogonal-to: two vectors are called {twice[0]!r}; rename one of the files.")
    others = {name: read_any(path).vector for name, path in zip(names, settings.orthogonal_to, strict=True)}
    return Recipe(settings.estimator, matching, settings.project_out_mean, others)


def _count(settings: FitSettings) -> int:
    return _RESAMPLINGS[settings.estimator in LINEAR] if settings.bootstrap is None else settings.bootstrap


def _options(recipe: Recipe, costs: list[dict[str, float]]) -> dict[str, Any]:
    """What was done besides the estimator, and what it cost, for the record."""
    columns = {name: [layer[name] for layer in costs] for name in costs[0]}
    options: dict[str, Any] = {}
    if recipe.matching is not None:
        confounds = recipe.matching.confounds
        differences_NK = confounds.differences_NK
        options["confounds"] = {
            "matched": list(confounds.names),
            "mean_difference": differences_NK.mean(axis=0).tolist(),
            "standardised_difference": (differences_NK.mean(axis=0) / differences_NK.std(axis=0)).tolist(),
            "effective_pairs": recipe.matching.effective_pairs,
            "explained": columns["explained"],
            "cosine_with_unmatched": columns["cosine_with_unmatched"],
        }
    if recipe.project_out_mean or recipe.others:
        cosine = {name: columns[f"cosine:{name}"] for name in recipe.others}
        kept = {name: columns[name] for name in ("norm_kept", "held_out_auroc_before") if name in columns}
        options["taken_out"] = {"shared_mean": recipe.project_out_mean, "cosine": cosine, **kept}
    return options


def _strongest(vector: SteeringVector) -> str:
    norms_L = np.array([vector.residual_norm(layer) for layer in vector.layers])
    relative_L = np.linalg.norm(vector.directions_LD, axis=1) / norms_L
    best = int(relative_L.argmax())
    return f"‖v‖ is {relative_L[best]:.2f} of the residual's norm at layer {vector.layers[best]}, where it is largest"


def _warnings(vector: SteeringVector) -> list[str]:
    """What a user should know before relying on the vector."""
    notes = []
    evidence = vector.evidence
    if nulls := evidence.get("null_norm"):
        weak = [layer for layer, norm, null in zip(vector.layers, evidence["norm"], nulls, strict=True) if norm <= null]
        if weak:
            notes.append(
                f"at {len(weak)} of {len(vector.layers)} layers the direction is no longer than pairs with their arms "
                "swapped at random would give: nothing is found there"
            )
    if confounds := evidence.get("confounds"):
        names = ", ".join(confounds["matched"]) or "nothing that differs"
        turned = min(confounds["cosine_with_unmatched"])
        notes.append(
            f"matched on {names}: {vector.evidence['pairs']} pairs are worth {confounds['effective_pairs']:.1f}; "
            f"cosine with the unmatched direction at least {turned:.2f}"
        )
    if taken := evidence.get("taken_out"):
        low, high = min(taken["norm_kept"]), max(taken["norm_kept"])
        notes.append(f"taking out keeps {low:.0%} to {high:.0%} of ‖v‖, by layer")
    return notes


def fit_trained(
    activations_path: Path,
    pairs: PairsFile,
    model_settings: ModelSettings,
    settings: FitSettings,
    trait: str,
    reporter: Reporter,
) -> SteeringVector:
    """Train the directions of ``settings.layers`` through the model, from the mean difference on.

    Raises:
        InputError: as `fit` and `train_vector`.
    """
    start = fit(activations_path, settings.model_copy(update={"estimator": START, "layers": None}), trait, reporter)
    read = pairs.read()
    model = load_model(model_settings, reporter)
    return train_vector(read.pairs, model, settings.layers or (), start, settings.train, reporter)


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    activations, settings, trait = rundir.path(ACTIVATIONS), config.fit, config.trait_name
    if settings.estimator == TRAINED:
        pairs = PairsFile.of_run(config, rundir)
        vector = fit_trained(activations, pairs, config.model, settings, trait, reporter)
    else:
        vector = fit(activations, settings, trait, reporter)
    write_vector(rundir.path(VECTOR), vector)


def _settings(config: Config) -> object:
    choice = PositionChoice.parse(config.fit.positions)
    if missing := {choice.chosen, choice.rejected} - {"response", *config.extract.positions}:
        named = ", ".join(sorted(missing))
        raise ConfigError(f"fit.positions {config.fit.positions!r}: extract.positions has no {named}; add it there.")
    for path in config.fit.orthogonal_to:
        if not path.is_file():
            raise FileError(f"{path}: no such file (expected a vector, for fit.orthogonal_to).")
    others = [digest_file(path) for path in config.fit.orthogonal_to]
    return {"fit": config.fit.model_dump(mode="json"), "trait": config.trait_name, "orthogonal_to": others}


STAGE = Stage(name="fit", reads=(ACTIVATIONS, FILTERED), writes=(VECTOR,), settings=_settings, run=_run)
