"""``compare``: how far two judges agree on the same answers, or a judge and a measured feature."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steer_llama.errors import ConfigError, RecordError
from steer_llama.evaluation.agreement import (
    DecisionAgreement,
    ScoreAgreement,
    agree_on_decisions,
    agree_on_scores,
    decide,
)
from steer_llama.pairs import read_results
from steer_llama.records import Result
from steer_llama.style import Metric


@dataclass(frozen=True)
class Comparison:
    """What two files of judgements say of each other; a measured feature may stand for the second."""

    first: str
    second: str
    pairs: int
    """With the same two answers in both."""
    different: int
    """Questions of both files whose answers differ: left out."""
    only_in_one: int
    """Questions of one file only: left out."""
    scores: ScoreAgreement
    """Over the answers that both score."""
    differences: ScoreAgreement
    """Over the pairs whose difference (source minus target) both know: the seed's files have nothing else."""
    decisions: DecisionAgreement
    """Over the pairs whose difference both know."""
    threshold: float
    """Points by which one answer has to score higher."""
    with_metric: dict[str, ScoreAgreement]
    """Each file's scores and the measured feature."""


def compare(first: Path, second: Path | None, metric: Metric | None, threshold: float) -> Comparison:
    """Compare the scores of two results.json, or of one with a measured feature.

    Raises:
        ConfigError: there is neither a second file nor a metric.
        FileError: a file is missing or of another format.
        RecordError: nothing is scored on both sides.
    """
    ours = {result.question: result for result in read_results(first).results}
    if second is None:
        if metric is None:
            raise ConfigError("compare needs a second results.json, or --metric with a style feature to count.")
        theirs = {question: _counted(result, metric) for question, result in ours.items()}
        names = (str(first), metric.name)
    else:
        theirs = {result.question: result for result in _as_in(second, first)}
        names = (str(first), str(second))
    shared = [question for question in ours if question in theirs]
    same = [question for question in shared if _answers(ours[question]) == _answers(theirs[question])]
    compared = [(ours[question], theirs[question]) for question in same]
    scores = [
        (a, b)
        for one, other in compared
        for a, b in zip(_scores(one), _scores(other), strict=True)
        if a is not None and b is not None
    ]
    differences = [
        (one.score_difference, other.score_difference)
        for one, other in compared
        if one.score_difference is not None and other.score_difference is not None
    ]
    if not scores and not differences:
        raise RecordError(
            f"{names[0]} and {names[1]}: nothing is scored on both sides ({len(shared)} questions in both, "
            f"{len(shared) - len(same)} of them with other answers). Judge the same answers twice."
        )
    with_metric = (
        {}
        if metric is None or second is None
        else {
            name: _beside(dict(zip(same, column, strict=True)), metric)
            for name, column in zip(names, zip(*compared, strict=True), strict=True)
        }
    )
    return Comparison(
        *names,
        pairs=len(same),
        different=len(shared) - len(same),
        only_in_one=len(ours.keys() ^ theirs.keys()),
        scores=agree_on_scores([a for a, _ in scores], [b for _, b in scores]),
        differences=agree_on_scores([a for a, _ in differences], [b for _, b in differences]),
        decisions=agree_on_decisions(
            [decide(a, threshold) for a, _ in differences], [decide(b, threshold) for _, b in differences]
        ),
        threshold=threshold,
        with_metric=with_metric,
    )


def _as_in(path: Path, first: Path) -> list[Result]:
    """The second file's results, with the first's idea of which arm is the source."""
    return read_results(path, *read_results(first).arms).results


def _counted(result: Result, metric: Metric) -> Result:
    source, target = metric.score(result.source_response), metric.score(result.target_response)
    difference = None if source is None or target is None else source - target
    return result.model_copy(update={"source_score": source, "target_score": target, "score_difference": difference})


def _beside(results: Mapping[str, Result], metric: Metric) -> ScoreAgreement:
    both = [
        (score, counted)
        for result in results.values()
        for score, text in zip(_scores(result), _answers(result), strict=True)
        if score is not None and (counted := metric.score(text)) is not None
    ]
    return agree_on_scores([score for score, _ in both], [counted for _, counted in both])


def _answers(result: Result) -> tuple[str, str]:
    return result.source_response, result.target_response


def _scores(result: Result) -> tuple[float | None, float | None]:
    return result.source_score, result.target_score
