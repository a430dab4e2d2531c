"""Who scores: a measured feature or a model, and which of their settings make a score what it is."""

from typing import Any

from steer_llama.config import HOW, Config
from steer_llama.elicitations import read_trait
from steer_llama.errors import ConfigError
from steer_llama.records import Trait
from steer_llama.stages.arms import server_identity
from steer_llama.style import METRICS, Metric, get_metric


def metric_of(config: Config) -> Metric:
    """The measured feature that stands for the trait: the configuration's, or its own. Raises as `choose_metric`."""
    return choose_metric(config.judge.metric, read_trait(config.trait), "judge.metric")


def known_metric(config: Config) -> Metric | None:
    """The measured feature, which a trait that a model judges may lack.

    Raises:
        ConfigError: there is none, and no model either; or the one that is named is unknown.
    """
    if config.judge.endpoint is None:
        return metric_of(config)
    name = config.judge.metric or read_trait(config.trait).metric
    return get_metric(name) if name else None


def choose_metric(name: str | None, trait: Trait | None, setting: str) -> Metric:
    """The measured feature called ``name``, or the trait's own; ``setting`` is where the user can name one.

    Raises:
        ConfigError: neither names one, or it is unknown.
    """
    chosen = name or (trait.metric if trait else None)
    if chosen is None:
        whose = f"the trait {trait.name!r} names" if trait else "there is no trait that names"
        raise ConfigError(
            f"{whose} no measured feature: set {setting} to one of {', '.join(METRICS)}, "
            "or have a model judge (judge.endpoint in the configuration)."
        )
    return get_metric(chosen)


def judge_settings(config: Config) -> dict[str, Any]:
    """What of the judge's settings changes scores, and not how the replies come."""
    judge = config.judge
    if judge.endpoint is None:
        return {"metric": metric_of(config).name}
    return {
        "endpoint": server_identity(judge.endpoint),
        "asked": judge.endpoint.model_dump(mode="json", exclude={*HOW}),
        **judge.model_dump(mode="json", include={"method", "repeats", "min_mass", "coherence"}),
    }


def asks_judge(config: Config) -> tuple[str, ...]:
    """The judge, if it is a model: what a stage that scores has to ask (`Stage.asks`)."""
    return ("judge.endpoint",) if config.judge.endpoint is not None else ()
