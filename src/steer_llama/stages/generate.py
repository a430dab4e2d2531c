"""``generate``: the same question with and without the vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from steer_llama.chat import build_messages, question_seed
from steer_llama.config import ModelSettings, Sampling
from steer_llama.lm.generation import Row
from steer_llama.lm.generation import generate as write
from steer_llama.lm.load import load_model
from steer_llama.lm.steering import Steering
from steer_llama.lm.tokens import encode_prompt
from steer_llama.progress import Reporter
from steer_llama.stages.size import Size, or_recommended
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
    asked = Size(strength, coefficient)
    (layer,), size = or_recommended(vector, () if layer is None else (layer,), asked)
    added_D = vector.direction_D(layer).astype(np.float64) * size.coefficient_at(vector, layer)
    added = torch.from_numpy(added_D.astype(np.float32))
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
