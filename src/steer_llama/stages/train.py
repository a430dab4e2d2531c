"""The trained estimator for some layers of a vector: what `fit` does where it may use the model."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from steer_llama.config import TrainSettings
from steer_llama.errors import ConfigError
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.training import Trained, train_direction
from steer_llama.progress import Reporter
from steer_llama.records import Pair
from steer_llama.vectors import SteeringVector

ESTIMATOR = "trained"
"""What the vector calls how it was estimated."""


def train_vector(
    pairs: Sequence[Pair],
    model: LanguageModel,
    layers: Sequence[int],
    starts: SteeringVector,
    settings: TrainSettings,
    reporter: Reporter,
) -> SteeringVector:
    """Train the direction of every layer of ``layers`` by itself, each from where ``starts`` points.

    Args:
        pairs: what is learned from, which may be those that ``starts`` was estimated on.
        model: the weights.
        layers: 0-based blocks, few: each costs a training.
        starts: where to begin and how large the residual stream is; most often the mean difference of the same pairs.
        settings: of every layer's training.
        reporter: is told what is done.

    Returns:
        A vector of ``layers`` alone, whose evidence has what the training saw (docs/formats.md).

    Raises:
        ConfigError: no layer, or one twice.
        LayerError: a layer that the model or ``starts`` has not.
        VectorError: ``starts`` is not for this model, or does not say how large the residual stream is.
        FileError: fewer than five usable pairs, or too few different prompts.
        ModelError: the model cannot be trained through.
    """
    if not layers or len(set(layers)) != len(layers):
        raise ConfigError(f"layers {list(layers)}: name at least one, and each once.")
    check_layers(layers, model.n_layers, model.name)
    starts.check_fits(model.name, model.fingerprint, model.n_layers, model.width)
    begin = {layer: (starts.direction_D(layer), starts.residual_norm(layer)) for layer in sorted(layers)}
    trained: dict[int, Trained] = {}
    for layer, (start_D, residual_norm) in begin.items():
        trained[layer] = train_direction(model, pairs, layer, start_D, residual_norm, settings, reporter)
        reporter.note(f"layer {layer}: {_said(trained[layer])}")
    norms = [residual_norm for _, residual_norm in begin.values()]
    return SteeringVector(
        directions_LD=np.stack([one.direction_D for one in trained.values()]),
        layers=tuple(trained),
        residual_norm_L=np.asarray(norms, dtype=np.float32),
        model=model.name,
        model_fingerprint=model.fingerprint,
        trait=starts.trait,
        estimator=ESTIMATOR,
        positions="response",
        dtype=model.dtype,
        revision=starts.revision,
        model_type=starts.model_type,
        evidence={
            "pairs": len(pairs),
            "layers": list(trained),
            "norm": [float(np.linalg.norm(one.direction_D)) for one in trained.values()],
            "residual_norm": norms,
            "steer_llama": version("steer-llama"),
            "training": {
                "start": starts.estimator,
                "settings": settings.model_dump(mode="json"),
                "layers": [_as_json(layer, one) for layer, one in trained.items()],
            },
        },
    )


def _as_json(layer: int, trained: Trained) -> dict[str, Any]:
    values = {key: value for key, value in asdict(trained).items() if key != "direction_D"}
    return {"layer": layer, **values, "history": [list(step.values()) for step in values["history"]]}


def _said(trained: Trained) -> str:
    after = trained.after["dev"]
    was = "" if trained.before is None else f"{trained.before['dev'].loss:.3f} → "
    kept = f"step {trained.best_step} of {trained.history[-1].step}" if trained.best_step else "the start stays"
    cosine = "" if trained.cosine_with_start is None else f", cosine with the start {trained.cosine_with_start:.2f}"
    unsteered, added, subtracted = (
        f"{share:.0%}"
        for share in (trained.unsteered_chosen_preferred, after.chosen_preferred, after.rejected_preferred)
    )
    return (
        f"dev loss {was}{after.loss:.3f} ({kept}{cosine}); the chosen answer is preferred in {unsteered} of "
        f"{trained.n_dev} dev pairs unsteered, in {added} with the vector added, the rejected one in {subtracted} "
        f"with the vector subtracted; {trained.seconds:.0f} s"
    )
