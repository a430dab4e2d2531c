"""Who judges, from the flags that `judge` and `sweep` share: a measured feature, or a configuration's judge."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steer_llama.config import Config, load_config
from steer_llama.elicitations import read_elicitation, read_trait
from steer_llama.errors import ConfigError
from steer_llama.packaged import packaged_traits
from steer_llama.pairs import Arms
from steer_llama.progress import Reporter
from steer_llama.records import Elicitation
from steer_llama.stages.answers import read_answers
from steer_llama.stages.elicit import elicit
from steer_llama.stages.judge import by_metric, by_model
from steer_llama.stages.measuring import choose_metric, metric_of
from steer_llama.stages.scorers import MetricScorer, Scorer, scorer_of
from steer_llama.style import get_metric


def judging_config(path: Path | None, metric: str | None, overrides: tuple[str, ...] = ()) -> Config | None:
    """The configuration whose judge scores; ``None`` where a measured feature does.

    Raises:
        ConfigError: both are given, or the configuration is wrong.
    """
    if path is None:
        if overrides:
            raise ConfigError("--set changes a configuration; name one with -c.")
        return None
    if metric is not None:
        raise ConfigError(f"--metric {metric} and -c {path}: give the one that scores, and leave the other out.")
    return load_config(path, overrides)


def judge_answers(
    config: Config | None,
    metric: str | None,
    responses: Path,
    elicitation: str | None,
    repeats: int | None,
    out: Path,
    reporter: Reporter,
) -> None:
    """Judge by the configuration's model or metric, or by the metric of that name, and write ``out``.

    Raises:
        ConfigError: nobody judges, or ``repeats`` is given for a metric.
        FileError: a file is missing or of another format.
        EndpointError: the judge's endpoint failed; what had arrived is kept.
    """
    if config is None and metric is None:
        raise ConfigError("say who judges: --metric with a style feature to count, or -c with a configuration.")
    asked = None if elicitation is None else read_elicitation(elicitation)
    if config is None or config.judge.endpoint is None:
        if repeats is not None:
            raise ConfigError("--repeats is for a judge model (judge.endpoint): counting gives the same every time.")
        chosen = metric_of(config) if config is not None else get_metric(str(metric))
        by_metric(read_answers(responses, asked), chosen, out, reporter)
        return
    if repeats is not None:
        config = config.model_copy(update={"judge": config.judge.model_copy(update={"repeats": repeats})})
    asked = asked or elicit(config).elicitation
    read = read_answers(responses, asked, Arms(config.source.name, config.target.name))
    by_model(read, asked, elicitation or "the elicitation", config, out, reporter)


@contextmanager
def sweep_scorer(
    path: Path | None,
    metric: str | None,
    trait: str,
    elicitation: Elicitation,
    where: str,
    out: Path,
    reporter: Reporter,
) -> Iterator[Scorer]:
    """Who scores a sweep's answers; the trait is the vector's.

    Raises:
        ConfigError: see `judging_config`, `choose_metric` and `scorer_of`.
        RecordError: the elicitation has no evaluation prompt that a judge could use.
    """
    config = judging_config(path, metric)
    if config is not None:
        with scorer_of(config, elicitation, where, out, reporter) as scorer:
            yield scorer
        return
    own = read_trait(trait) if trait in packaged_traits() else None
    yield MetricScorer(choose_metric(metric, own, "--metric"))
