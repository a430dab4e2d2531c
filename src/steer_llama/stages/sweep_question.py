"""What a sweep is to find out, and whether it can."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.config import Sampling, SweepSettings
from steer_llama.errors import ConfigError, VectorError
from steer_llama.evaluation import Wanted
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import LanguageModel
from steer_llama.records import Demonstration, Response, Split
from steer_llama.stages.grid import default_layers, dev_questions
from steer_llama.stages.scorers import Scorer
from steer_llama.vectors import SteeringVector


@dataclass(frozen=True)
class Question:
    """What a sweep is to find out."""

    trait: str
    scorer: Scorer
    """Who gives the trait scores."""
    wanted: Wanted
    """Whether the source shows more of the trait than the target, or less."""
    source_name: str
    target_name: str
    target_prompt: Demonstration
    source_prompt: Demonstration | None
    """What the target is given in the ``prompted`` arm; ``None``: an instruction of the elicitation."""
    sampling: Sampling
    """The target's own: a steered answer is drawn as an unsteered one is."""


def check_source(source: Sequence[Response], split: Split, settings: SweepSettings) -> None:
    """Refuse, before any work, to look for a likeness to answers that are not there."""
    if settings.objective != "fidelity":
        return
    asked = dev_questions(split, settings)
    answered = {answer.question for answer in source if answer.role == "source"} & set(asked)
    if len(answered) < 2:
        raise ConfigError(
            f"the source has answered {len(answered)} of the {len(asked)} dev questions, and fidelity is nearness to "
            "its answers (expected at least 2). Give them with --responses, or choose with --objective trait."
        )


def layers_to_try(
    vectors: Mapping[str, SteeringVector], model: LanguageModel, settings: SweepSettings, *, any_model: bool
) -> dict[str, tuple[int, ...]]:
    """The layers to try, by vector."""
    layers: dict[str, tuple[int, ...]] = {}
    for name, vector in vectors.items():
        if vector.residual_norm_L is None:
            raise VectorError(
                f"the vector{f' {name!r}' if name else ''} does not say how large the residual stream is, so it has no "
                "strengths to sweep. Fit one with steer-llama, or try this one with "
                "`steer-llama generate --layer L --coefficient C`."
            )
        fingerprint = vector.model_fingerprint if any_model else model.fingerprint
        vector.check_fits(model.name, fingerprint, model.n_layers, model.width)
        layers[name] = settings.layers or default_layers(vector.layers)
        check_layers(layers[name], model.n_layers, model.name)
        for layer in layers[name]:
            vector.coefficient(layer, 1.0)  # so that a layer that it lacks is told now
    return layers
