"""Who gives the sweep's answers their trait score: a measured feature at once, or a judge that is asked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from steer_llama.chat.judging import check_prompt, coherence_prompt, fill
from steer_llama.config import Config
from steer_llama.progress import Reporter
from steer_llama.records import Elicitation, Trial
from steer_llama.stages.asking import correspondence
from steer_llama.stages.judging import JudgeModel
from steer_llama.stages.measuring import metric_of
from steer_llama.style import Metric


class Scorer(Protocol):
    """Gives answers their trait score."""

    @property
    def name(self) -> str:
        """What the verdict calls the score: the measured feature, or the judge."""
        ...

    @property
    def count_score(self) -> Callable[[str], float | None] | None:
        """The trait score of a text where it is counted; ``None`` where a judge would have to be asked."""
        ...

    def scored(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials with their trait score; ``None`` where it cannot be told."""
        ...


@dataclass(frozen=True)
class MetricScorer:
    """Counts."""

    metric: Metric

    @property
    def name(self) -> str:
        """The measured feature."""
        return self.metric.name

    @property
    def count_score(self) -> Callable[[str], float | None]:
        """The measured feature's score."""
        return self.metric.score

    def scored(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials with their score and their count."""
        return [
            trial.model_copy(
                update={"trait_score": self.metric.score(trial.text), "trait_count": self.metric.count(trial.text)}
            )
            for trial in trials
        ]


class JudgeScorer:
    """Asks a judge. It has scores and no counts: it does not tell what share of answers shows the trait at all."""

    def __init__(self, judge: JudgeModel, eval_prompt: str, reporter: Reporter, *, coherence: bool) -> None:
        """``coherence``: have the judge score the answers' coherence too."""
        self._judge = judge
        self._coherence = coherence
        self._eval_prompt = eval_prompt
        self._reporter = reporter
        self.name = judge.name
        self.count_score = None

    def scored(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials with their scores; empty answers are not sent. Raises as `JudgeModel.score`."""
        traits = ["" if _empty(t) else fill(self._eval_prompt, t.question, t.text) for t in trials]
        fluent = ["" if _empty(t) or not self._coherence else coherence_prompt(t.question, t.text) for t in trials]
        asked = list(dict.fromkeys(prompt for prompt in (*traits, *fluent) if prompt))
        scores = self._judge.score(asked, "judging the answers")
        values = [scores[prompt].value if prompt else None for prompt in traits]
        self._tell([(scores[prompt].reason or "") if prompt else "empty answer" for prompt in traits], values)
        return [
            trial.model_copy(
                update={
                    "trait_score": value,
                    "trait_count": None,
                    "coherence_score": scores[prompt].value if prompt else None,
                }
            )
            for trial, value, prompt in zip(trials, values, fluent, strict=True)
        ]

    def _tell(self, reasons: Sequence[str], values: Sequence[float | None]) -> None:
        why = [reason for reason, value in zip(reasons, values, strict=True) if value is None]
        if why:
            self._reporter.note(f"{len(why)} of {len(values)} answers are unscored, the first because: {why[0]}")


def _empty(trial: Trial) -> bool:
    return not trial.text.strip()


@contextmanager
def scorer_of(
    config: Config,
    elicitation: Elicitation,
    where: str,
    sweep_path: Path,
    reporter: Reporter,
    others: Iterable[Path] = (),
) -> Iterator[Scorer]:
    """The configuration's judge, or its measured feature.

    Args:
        config: the judge, and the budget that its calls are paid from.
        elicitation: its evaluation prompt tells a model what to score.
        where: names the elicitation in errors.
        sweep_path: the sweep's file; the judge's replies have a journal of their own beside it.
        reporter: where to tell.
        others: journals of the same run, whose replies were paid from the same budget.

    Raises:
        ConfigError: there is neither a judge nor a measured feature.
        RecordError: the evaluation prompt cannot be used.
        ConflictError: another process is at work on the journal.
    """
    if config.judge.endpoint is None:
        yield MetricScorer(metric_of(config))
        return
    eval_prompt = check_prompt(elicitation.eval_prompt, where)
    with correspondence(judge_journal_of(sweep_path), reporter, config.budget, others) as letters:
        judge = JudgeModel(config.judge, letters, reporter)
        yield JudgeScorer(judge, eval_prompt, reporter, coherence=config.judge.coherence)


def judge_journal_of(sweep_path: Path) -> Path:
    """The journal of the judge's replies, beside the one of the trials."""
    return sweep_path.with_name(sweep_path.stem + ".judge.journal.jsonl")
