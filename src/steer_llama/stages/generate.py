"""``generate``: the same question with and without the vector."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from steer_llama.chat import build_messages, question_seed
from steer_llama.config import ModelSettings, Sampling
from steer_llama.errors import ConfigError
from steer_llama.lm.generate import Row
from steer_llama.lm.generate import generate as write
from steer_llama.lm.load import load_model
from steer_llama.lm.steer import Steering
from steer_llama.lm.tokens import encode_prompt
from steer_llama.progress import Reporter
from steer_llama.vectors import SteeringVector


@dataclass(frozen=True)
class Answers:
    """Both answers to one prompt."""

    prompt: str
    unsteered: str
    steered: str
    label: str
    """The layer and the strength (or the coefficient) of the steered one."""


def generate(
    vector: SteeringVector,
    model_settings: ModelSettings,
    prompts: Sequence[str],
    sampling: Sampling,
    reporter: Reporter,
    *,
    layer: int | None = None,
    strength: float | None = None,
    coefficient: float | None = None,
    system_prompt: str = "",
    any_model: bool = False,
) -> list[Answers]:
    """Answer every prompt twice, with the same seed, so that what differs is the steering.

    Raises:
        ConfigError: no layer or size is given, and the vector recommends none; or both a strength and a coefficient.
        VectorError: the vector is not for this model.
        LayerError: the vector has no such layer.
    """
    layer, added_D, size = _added(vector, layer, strength, coefficient)
    added = torch.from_numpy(added_D)
    model = load_model(model_settings, reporter)
    fingerprint = vector.model_fingerprint if any_model else model.fingerprint
    vector.check_fits(model.name, fingerprint, model.n_layers, model.width)
    steering = Steering(layer, added)
    rows = []
    for prompt in prompts:
        ids = tuple(encode_prompt(model.tokenizer, build_messages(system_prompt, (), prompt)))
        seed = question_seed(sampling.seed, prompt)
        rows += [Row(ids, seed), Row(ids, seed, steering)]
    texts = [""] * len(rows)
    with reporter.task("writing", len(rows), "answers") as advance:
        for batch in write(model, rows, sampling, batch_size=32):
            for index, answer in batch:
                texts[index] = answer.text
            advance(len(batch))
    label = f"steered: layer {layer}, {size}"
    return [
        Answers(prompt, unsteered, steered, label)
        for prompt, unsteered, steered in zip(prompts, texts[::2], texts[1::2], strict=True)
    ]


def _added(
    vector: SteeringVector, layer: int | None, strength: float | None, coefficient: float | None
) -> tuple[int, npt.NDArray[np.float32], str]:
    """The layer, what is added there, and how that is called."""
    if strength is not None and coefficient is not None:
        raise ConfigError("--strength and --coefficient say the same thing in two ways; give one of them.")
    layer = vector.recommended_layer if layer is None else layer
    if strength is None and coefficient is None:
        strength = vector.recommended_strength
    for flag, value in (("--strength", strength), ("--coefficient", coefficient)):
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"{flag} {value}: expected a finite number, e.g. 0.2.")
    if layer is not None and coefficient is not None:
        return layer, vector.direction_D(layer) * np.float32(coefficient), f"coefficient {coefficient:g}"
    if layer is not None and strength is not None:
        return layer, vector.scaled_D(layer, strength), f"strength {strength:g}"
    size = "--strength" if vector.residual_norm_L is not None else "--coefficient"
    given = (("--layer", layer), (size, strength if coefficient is None else coefficient))
    missing = " and ".join(flag for flag, value in given if value is None)
    tried = "a strength of 0.1 to 0.4" if size == "--strength" else "a coefficient of 1"
    raise ConfigError(
        f"the vector recommends nothing yet: give {missing} (try a layer in the middle of the model and {tried}), or "
        "find them with `steer-llama sweep` and `steer-llama report`."
    )
