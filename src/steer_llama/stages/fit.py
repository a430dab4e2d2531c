"""``fit``: estimates the steering vector of every layer from activations, with the evidence for it."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from steer_llama.activations import PositionChoice, open_activations
from steer_llama.config import Config, FitSettings
from steer_llama.errors import ConfigError, FileError
from steer_llama.progress import Reporter
from steer_llama.rundir import ACTIVATIONS, VECTOR, RunDir
from steer_llama.stages.stage import Stage
from steer_llama.vectors import ESTIMATORS, SteeringVector, as_columns, layer_evidence, write_vector


def fit(activations_path: Path, settings: FitSettings, trait: str, reporter: Reporter) -> SteeringVector:
    """Estimate a vector; one layer is in memory at a time.

    Raises:
        FileError: the activations cannot be read, or are not finite.
        ConfigError: they do not hold the positions that are asked for.
    """
    choice = PositionChoice.parse(settings.positions)
    estimate = ESTIMATORS[settings.estimator]
    directions, norms, evidence = [], [], []
    with open_activations(activations_path, choice) as data:
        with reporter.task("fitting", len(data.layers), "layers") as advance:
            for layer in data.layers:
                chosen_ND, rejected_ND = data.means("chosen", layer), data.means("rejected", layer)
                if not (np.isfinite(chosen_ND).all() and np.isfinite(rejected_ND).all()):
                    raise FileError(f"{activations_path}: NaN or infinity at layer {layer}. Extract again in float32.")
                directions.append(estimate(chosen_ND, rejected_ND)[0])
                norms.append(data.residual_norm(layer))
                evidence.append(layer_evidence(estimate, chosen_ND, rejected_ND, settings.bootstrap, settings.seed))
                advance(1)
        fallback = {"chosen": data.fallbacks("chosen"), "rejected": data.fallbacks("rejected")}
    for (arm, count), positions in zip(fallback.items(), (choice.chosen, choice.rejected), strict=True):
        if count:
            reporter.note(
                f"{count} of {data.n_pairs} {arm} answers have no {positions} tokens: "
                "all their response tokens are averaged instead"
            )
    vector = SteeringVector(
        directions_LD=np.stack(directions).astype(np.float32),
        layers=data.layers,
        residual_norm_L=np.asarray(norms, dtype=np.float32),
        model=data.model,
        model_fingerprint=data.model_fingerprint,
        trait=trait,
        estimator=settings.estimator,
        positions=str(choice),
        evidence={
            "pairs": data.n_pairs,
            "layers": list(data.layers),
            "residual_norm": [float(norm) for norm in norms],
            "fallback": fallback,
            "data_fingerprint": data.fingerprint,
            "resamplings": settings.bootstrap,
            "seed": settings.seed,
            "steer_llama": version("steer-llama"),
            **as_columns(evidence),
        },
    )
    reporter.note(f"{data.n_pairs} pairs, {settings.estimator} over {choice}: {_strongest(vector)}")
    return vector


def _strongest(vector: SteeringVector) -> str:
    norms_L = np.array([vector.residual_norm(layer) for layer in vector.layers])
    relative_L = np.linalg.norm(vector.directions_LD, axis=1) / norms_L
    best = int(relative_L.argmax())
    return f"‖v‖ is {relative_L[best]:.2f} of the residual's norm at layer {vector.layers[best]}, where it is largest"


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    vector = fit(rundir.path(ACTIVATIONS), config.fit, config.trait_name, reporter)
    write_vector(rundir.path(VECTOR), vector)


def _settings(config: Config) -> object:
    choice = PositionChoice.parse(config.fit.positions)
    if missing := {choice.chosen, choice.rejected} - {"response", *config.extract.positions}:
        named = ", ".join(sorted(missing))
        raise ConfigError(f"fit.positions {config.fit.positions!r}: extract.positions has no {named}; add it there.")
    return {"fit": config.fit.model_dump(mode="json"), "trait": config.trait_name}


STAGE = Stage(name="fit", reads=(ACTIVATIONS,), writes=(VECTOR,), settings=_settings, run=_run)
