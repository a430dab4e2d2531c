"""``judge``: the trait score of every answer, as ``results.json``."""

from collections.abc import Iterable, Sequence

from steer_llama.chat import read_responses
from steer_llama.config import Config
from steer_llama.elicitations import read_elicitation, read_trait
from steer_llama.errors import ConfigError, RecordError
from steer_llama.pairs import Arms, write_results
from steer_llama.progress import Reporter
from steer_llama.records import Elicitation, Response, Result, Trait
from steer_llama.rundir import ELICITATION, RESPONSES, RESULTS, RunDir
from steer_llama.stages.stage import Stage
from steer_llama.style import METRICS, Metric, get_metric


def judge_responses(responses: Iterable[Response], metric: Metric) -> list[Result]:
    """Score both answers to every question; what cannot be scored says why, and is never 0.

    Raises:
        RecordError: a question lacks the answer of an arm, or has two of one arm.
    """
    answers: dict[str, dict[str, Response]] = {}
    for response in responses:
        of_question = answers.setdefault(response.question, {})
        if response.role in of_question:
            raise RecordError(f"the {response.role} has two answers to {response.question!r}; keep one of them.")
        of_question[response.role] = response
    results: list[Result] = []
    for question, of_question in answers.items():
        for role in ("source", "target"):
            if role not in of_question:
                raise RecordError(f"the {role} has no answer to {question!r}; run `respond` again to get it.")
        results.append(_judged(of_question["source"], of_question["target"], metric))
    return results


def arms_of(responses: Iterable[Response]) -> Arms:
    """The names of the two arms that answered.

    Raises:
        RecordError: a role has no answers, or those of several arms.
    """
    names: dict[str, list[str]] = {"source": [], "target": []}
    for response in responses:
        if response.arm not in names[response.role]:
            names[response.role].append(response.arm)
    for role, found in names.items():
        if len(found) != 1:
            raise RecordError(f"the responses have {len(found)} arms in the role {role!r} ({found}); expected one.")
    return Arms(names["source"][0], names["target"][0])


def in_order(responses: Sequence[Response], elicitation: Elicitation, where: str) -> list[Response]:
    """The answers to the elicitation's questions, in its order.

    Raises:
        RecordError: some of its questions have no answers in ``where``.
    """
    by_question: dict[str, list[Response]] = {question: [] for question in elicitation.questions}
    for response in responses:
        if response.question in by_question:
            by_question[response.question].append(response)
    if missing := [question for question, found in by_question.items() if not found]:
        raise RecordError(
            f"{where}: no answers to {len(missing)} of {len(by_question)} questions, first {missing[0]!r}. "
            "Run `respond` again to get them."
        )
    return [response for found in by_question.values() for response in found]


def metric_of(config: Config) -> Metric:
    """The measured feature that stands for the trait: the configuration's, or its own. Raises as `choose_metric`."""
    return choose_metric(config.judge.metric, read_trait(config.trait), "judge.metric")


def choose_metric(name: str | None, trait: Trait | None, setting: str) -> Metric:
    """The measured feature called ``name``, or the trait's own; ``setting`` is where the user can name one.

    Raises:
        ConfigError: neither names one, or it is unknown.
    """
    chosen = name or (trait.metric if trait else None)
    if chosen is None:
        whose = f"the trait {trait.name!r} names" if trait else "there is no trait that names"
        raise ConfigError(f"{whose} no measured feature: set {setting} to one of {', '.join(METRICS)}.")
    return get_metric(chosen)


def run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    """Write ``results.json``.

    Raises:
        ConfigError: there is no measured feature for the trait.
        RecordError: an answer is missing.
    """
    metric = metric_of(config)
    path = rundir.path(RESPONSES)
    elicitation = read_elicitation(rundir.path(ELICITATION))
    results = judge_responses(in_order(read_responses(path), elicitation, str(path)), metric)
    write_results(rundir.path(RESULTS), results, config.source.name, config.target.name)
    reporter.note(summary(results, metric, Arms(config.source.name, config.target.name)))


def summary(results: Sequence[Result], metric: Metric, arms: Arms) -> str:
    """The judgement in a line: the arms' mean scores, and how many could not be scored."""
    parts = []
    for name, scores in (
        (arms.source, [result.source_score for result in results]),
        (arms.target, [result.target_score for result in results]),
    ):
        known = [score for score in scores if score is not None]
        mean = f"{sum(known) / len(known):.1f}" if known else "unscored"
        unscored = f" ({len(scores) - len(known)} unscored)" if len(known) < len(scores) else ""
        parts.append(f"{name} {mean}{unscored}")
    return f"mean {metric.name} score over {len(results)} questions: {', '.join(parts)}"


def _judged(source: Response, target: Response, metric: Metric) -> Result:
    scores = {response.role: _score(response.text, metric) for response in (source, target)}
    unscored = [role for role, score in scores.items() if score is None]
    difference = None
    if scores["source"] is not None and scores["target"] is not None:
        difference = scores["source"] - scores["target"]
    return Result(
        question=source.question,
        source_response=source.text,
        target_response=target.text,
        source_score=scores["source"],
        target_score=scores["target"],
        score_difference=difference,
        split=source.split,
        reason=f"unscored: {' and '.join(unscored)}" if unscored else None,
    )


def _score(text: str, metric: Metric) -> float | None:
    return metric.score(text) if text.strip() else None


def _settings(config: Config) -> object:
    return {"metric": metric_of(config).name, "source": config.source.name, "target": config.target.name}


STAGE = Stage(name="judge", reads=(ELICITATION, RESPONSES), writes=(RESULTS,), settings=_settings, run=run)
