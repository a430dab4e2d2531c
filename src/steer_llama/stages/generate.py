"""``generate``: the same question with and without steering."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.chat import build_messages, question_seed
from steer_llama.config import ModelSettings, Sampling
from steer_llama.lm.generation import Row
from steer_llama.lm.generation import generate as write
from steer_llama.lm.load import load_model
from steer_llama.lm.tokens import encode_prompt
from steer_llama.progress import Reporter
from steer_llama.records import Steer
from steer_llama.stages.steers import resolved, steerings
from steer_llama.vectors import SteeringVector


@dataclass(frozen=True)
class Answers:
    """Both answers to one prompt."""

    prompt: str
    unsteered: str
    steered: str
    label: str
    """How the second one is steered."""


def generate(
    steers: Sequence[Steer],
    vectors: Mapping[str, SteeringVector],
    model_settings: ModelSettings,
    prompts: Sequence[str],
    sampling: Sampling,
    reporter: Reporter,
    *,
    system_prompt: str = "",
    batch_size: int = 32,
    any_model: bool = False,
) -> list[Answers]:
    """Answer every prompt twice, with the same seed, so that what differs is the steering.

    Args:
        steers: all that is done to the steered answers.
        vectors: those that the steers name, and no others.
        model_settings: the weights.
        prompts: what is asked.
        sampling: how the answers are drawn.
        reporter: where to tell.
        system_prompt: before every question.
        batch_size: answers that are written at once.
        any_model: accept other weights than the vectors were fitted on.

    Raises:
        ConfigError: no layer or size is given, and the vector recommends none.
        VectorError: a vector is not for this model.
        LayerError: a vector has no such layer.
    """
    steers = resolved(steers, vectors)
    steering = steerings(steers, vectors)
    model = load_model(model_settings, reporter)
    for vector in vectors.values():
        fingerprint = vector.model_fingerprint if any_model else model.fingerprint
        vector.check_fits(model.name, fingerprint, model.n_layers, model.width)
    rows = []
    for prompt in prompts:
        ids = tuple(encode_prompt(model.tokenizer, build_messages(system_prompt, (), prompt)))
        seed = question_seed(sampling.seed, prompt)
        rows += [Row(ids, seed), Row(ids, seed, steering)]
    texts = [""] * len(rows)
    with reporter.task("writing", len(rows), "answers") as advance:
        for batch in write(model, rows, sampling, batch_size):
            for index, answer in batch:
                texts[index] = answer.text
            advance(len(batch))
    label = f"steered: {', '.join(map(str, steers))}"
    return [
        Answers(prompt, unsteered, steered, label)
        for prompt, unsteered, steered in zip(prompts, texts[::2], texts[1::2], strict=True)
    ]
