"""``judge``: the trait score of every answer, as ``results.json``: counted, or judged by a model."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from steer_llama.chat.judging import Score, check_prompt, coherence_prompt, fill
from steer_llama.config import Config
from steer_llama.elicitations import read_elicitation
from steer_llama.files import check_output
from steer_llama.pairs import Arms, write_results
from steer_llama.progress import Reporter
from steer_llama.records import Elicitation, Result
from steer_llama.rundir import ELICITATION, RESPONSES, RESULTS, RunDir
from steer_llama.stages.answers import BothAnswers, ReadAnswers, read_answers
from steer_llama.stages.asking import correspondence, journal_of
from steer_llama.stages.elicit import author_of, elicit
from steer_llama.stages.judge_summary import beside_the_metric, judged_by, summary
from steer_llama.stages.judging import JudgeModel
from steer_llama.stages.measuring import asks_judge, judge_settings, known_metric, metric_of
from steer_llama.stages.stage import Stage
from steer_llama.style import Metric

EMPTY = "empty answer"

_Scores = Mapping[tuple[str, str], Score]
"""By question and answer: equal answers to one question have one score, whoever gave them."""


def judge_by_metric(answers: Sequence[BothAnswers], arms: Arms, metric: Metric) -> list[Result]:
    """Score both answers to every question by counting; what cannot be scored says why, and is never 0."""
    scores = {asked: _counted(asked[1], metric) for asked in _to_score(answers)}
    return [_result(both, arms, scores, {}) for both in answers]


def judge_by_model(
    answers: Sequence[BothAnswers], arms: Arms, eval_prompt: str, judge: JudgeModel, *, coherence: bool
) -> tuple[list[Result], list[Score]]:
    """Have a model score both answers to every question; the trait scores stand beside the results, for the summary.

    Trait and coherence, sources and targets are asked in one random order. Raises as `JudgeModel.score`.
    """
    asked = _to_score(answers)
    trait = {key: fill(eval_prompt, *key) for key in asked}
    fluent = {key: coherence_prompt(*key) for key in asked} if coherence else {}
    scores = judge.score([*trait.values(), *fluent.values()])
    traits = {key: scores[prompt] for key, prompt in trait.items()}
    coherences = {key: scores[prompt] for key, prompt in fluent.items()}
    return [_result(both, arms, traits, coherences) for both in answers], list(traits.values())


def by_metric(read: ReadAnswers, metric: Metric, out: Path, reporter: Reporter) -> list[Result]:
    """Count, and write ``out``.

    Raises:
        StorageError: the file cannot be written.
    """
    results = judge_by_metric(read.answers, read.arms, metric)
    write_results(out, results, read.arms.source, read.arms.target)
    reporter.note(summary(results, metric.name, read.arms))
    return results


def by_model(
    read: ReadAnswers,
    elicitation: Elicitation,
    where: str,
    config: Config,
    out: Path,
    reporter: Reporter,
    others: Iterable[Path] = (),
) -> list[Result]:
    """Have the model behind ``judge.endpoint`` judge, and write ``out``.

    Its replies go to ``<name>.journal.jsonl`` beside it as they arrive; what is there is not asked again.

    Args:
        read: the answers.
        elicitation: its evaluation prompt tells the model what to score.
        where: names the elicitation in errors.
        config: the judge, the budget, and the measured feature that the judge is compared with.
        out: the results.json.
        reporter: where to tell.
        others: journals of the same run, whose replies were paid from the same budget.

    Raises:
        ConfigError: there is no ``judge.endpoint``, or the model cannot be used as it is set up.
        RecordError: the evaluation prompt cannot be used.
        EndpointError: the endpoint failed; what had arrived is kept.
        BudgetError: the budget allows no further call; what had arrived is kept.
    """
    check_output(out)
    settings, arms = config.judge, read.arms
    eval_prompt = check_prompt(elicitation.eval_prompt, where)
    with correspondence(journal_of(out), reporter, config.budget, others) as letters:
        model = JudgeModel(settings, letters, reporter)
        results, scores = judge_by_model(read.answers, arms, eval_prompt, model, coherence=settings.coherence)
    write_results(out, results, arms.source, arms.target)
    for line in (summary(results, model.name, arms), *judged_by(results, scores, arms)):
        reporter.note(line)
    metric = known_metric(config)
    if metric is not None:
        reporter.note(beside_the_metric(results, metric))
    return results


def run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    """Write ``results.json``. Raises as `by_model`, and `RecordError` where an answer is missing."""
    path, out = rundir.path(ELICITATION), rundir.path(RESULTS)
    elicitation = read_elicitation(path)
    answers = read_answers(rundir.path(RESPONSES), elicitation).answers
    read = ReadAnswers(answers, Arms(config.source.name, config.target.name))
    if config.judge.endpoint is None:
        by_metric(read, metric_of(config), out, reporter)
    else:
        by_model(read, elicitation, str(path), config, out, reporter, rundir.journals())


def _to_score(answers: Sequence[BothAnswers]) -> list[tuple[str, str]]:
    """Question and answer of everything that can have a score, each once."""
    found = [
        (both.question, text)
        for both in answers
        for text, refused in ((both.source, both.source_reason), (both.target, both.target_reason))
        if refused is None and text.strip()
    ]
    return list(dict.fromkeys(found))


def _counted(text: str, metric: Metric) -> Score:
    value = metric.score(text)
    return Score(value, None if value is not None else f"{metric.name} cannot be measured in it")


def _score(question: str, text: str, refused: str | None, scores: _Scores) -> Score:
    if refused is not None:
        return Score(None, refused)
    return scores.get((question, text), Score(None, EMPTY))


def _result(both: BothAnswers, arms: Arms, traits: _Scores, coherences: _Scores) -> Result:
    source = _score(both.question, both.source, both.source_reason, traits)
    target = _score(both.question, both.target, both.target_reason, traits)
    unscored = [f"{arm}: {score.reason}" for arm, score in zip(arms, (source, target), strict=True) if score.reason]
    difference = None
    if source.value is not None and target.value is not None:
        difference = source.value - target.value
    return Result(
        question=both.question,
        source_response=both.source,
        target_response=both.target,
        source_score=source.value,
        target_score=target.value,
        score_difference=difference,
        source_coherence=_score(both.question, both.source, both.source_reason, coherences).value,
        target_coherence=_score(both.question, both.target, both.target_reason, coherences).value,
        source_score_spread=source.spread,
        target_score_spread=target.spread,
        source_score_mass=source.mass,
        target_score_mass=target.mass,
        split=both.split,
        reason=f"unscored: {'; '.join(unscored)}" if unscored else None,
    )


def _settings(config: Config) -> object:
    if config.judge.endpoint is not None and author_of(config) is None:
        # An elicitation that no judge can use is told before the answers are paid for.
        check_prompt(elicit(config).elicitation.eval_prompt, str(config.elicitation or config.trait_name))
    return {**judge_settings(config), "source": config.source.name, "target": config.target.name}


STAGE = Stage(
    name="judge", reads=(ELICITATION, RESPONSES), writes=(RESULTS,), settings=_settings, run=run, asks=asks_judge
)
