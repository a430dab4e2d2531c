"""Where a sweep's answers are written and scored, and the dev questions choose."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from steer_llama.chat import Journal
from steer_llama.config import SweepSettings
from steer_llama.evaluation import Choice, choose_winner, next_step
from steer_llama.progress import Reporter
from steer_llama.records import Spot, Trial
from steer_llama.stages.grid import steered_jobs, unsteered_jobs
from steer_llama.stages.scorers import Scorer
from steer_llama.stages.sweep_question import Question
from steer_llama.stages.trials import Job, Laboratory


@dataclass
class Bench:
    """Runs jobs, scores them, and keeps all that was seen."""

    laboratory: Laboratory
    scorer: Scorer
    journal: Journal
    known: dict[str, Trial]
    reporter: Reporter
    trials: list[Trial] = field(default_factory=list)

    def run(self, jobs: Sequence[Job], title: str) -> None:
        """Write the answers that are not known, and score them all."""
        self.trials += self.scorer.scored(self.laboratory.run(jobs, self.journal, self.known, self.reporter, title))


def choose_on_dev(
    bench: Bench, spots: Sequence[Spot], questions: Sequence[str], question: Question, settings: SweepSettings
) -> Choice:
    """Answer the dev questions, all of them or by halving, and choose."""
    bench.run(unsteered_jobs(questions), "dev questions, unsteered")
    if settings.halving:
        while (
            step := next_step(
                spots,
                questions,
                bench.trials,
                wanted=question.wanted,
                min_coherence=settings.min_coherence,
                objective=settings.objective,
            )
        ).pairs:
            bench.reporter.note(step.note)
            bench.run(steered_jobs(step.pairs), f"dev questions, round {step.number + 1}")
    else:
        bench.run(steered_jobs((spot, text) for spot in spots for text in questions), "dev questions, steered")
    return choose_winner(
        bench.trials,
        wanted=question.wanted,
        min_coherence=settings.min_coherence,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        objective=settings.objective,
    )
