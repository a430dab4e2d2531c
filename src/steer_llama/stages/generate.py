"""``generate``: the same question with and without the vector."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    """The layer and the strength of the steered one."""


def generate(
    vector: SteeringVector,
    model_settings: ModelSettings,
    prompts: Sequence[str],
    sampling: Sampling,
    reporter: Reporter,
    *,
    layer: int | None = None,
    strength: float | None = None,
    system_prompt: str = "",
    any_model: bool = False,
) -> list[Answers]:
    """Answer every prompt twice, with the same seed, so that what differs is the steering.

    Raises:
        ConfigError: no layer or strength is given, and the vector recommends none.
        VectorError: the vector is not for this model.
        LayerError: the vector has no such layer.
    """
    layer, strength = _where(vector, layer, strength)
    added = torch.from_numpy(vector.scaled_D(layer, strength))
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
    label = f"steered: layer {layer}, strength {strength:g}"
    return [
        Answers(prompt, unsteered, steered, label)
        for prompt, unsteered, steered in zip(prompts, texts[::2], texts[1::2], strict=True)
    ]


def _where(vector: SteeringVector, layer: int | None, strength: float | None) -> tuple[int, float]:
    layer = vector.recommended_layer if layer is None else layer
    strength = vector.recommended_strength if strength is None else strength
    if strength is not None and not math.isfinite(strength):
        raise ConfigError(f"--strength {strength}: expected a finite number, e.g. 0.2.")
    missing = [flag for flag, value in (("--layer", layer), ("--strength", strength)) if value is None]
    if layer is None or strength is None:
        raise ConfigError(
            f"the vector recommends nothing yet: give {' and '.join(missing)} (try a layer in the middle of the "
            "model and a strength of 0.1 to 0.4), or find them with `steer-llama sweep` and `steer-llama report`."
        )
    return layer, strength
