"""The whole grid of one trait and seed, answer by answer into a journal, so that it goes on where it was stopped.

The sampling is the demo's, with the sweep's tokens.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from generation.gathering import load_embedded
from turns.environments import THREADS

from steer_llama.chat import Journal, read_responses
from steer_llama.config import SweepSettings, parse_config
from steer_llama.elicitations import read_trait
from steer_llama.packaged import demo_config
from steer_llama.progress import ConsoleReporter
from steer_llama.records import Demonstration, Trial
from steer_llama.rundir import RESPONSES
from steer_llama.stages.grid import dev_questions, held_out, spots_of, steered_jobs, unsteered_jobs
from steer_llama.stages.journalled import journalled
from steer_llama.stages.measuring import choose_metric
from steer_llama.stages.scorers import MetricScorer
from steer_llama.stages.trials import Laboratory
from sweeping import LAYERS, QUESTIONS, STRENGTHS, TOKENS
from sweeping.material import Material


@dataclass(frozen=True)
class Grid:
    """What running it gave."""

    trials: list[Trial]
    """Scored: the source's, the unsteered and every condition's."""
    new: int
    """Answers that were not in the journal."""
    new_tokens: int
    seconds: float
    """For the new ones, with all that is measured of them."""


def journal_path(folder: Path, seed: int) -> Path:
    return folder / f"grid-seed-{seed}.journal.jsonl"


def run_grid(material: Material, seed: int, settings: SweepSettings, tokens: int) -> Grid:
    """All of it: what the journal holds is not written again."""
    torch.set_num_threads(THREADS)
    model, vector = load_embedded(), material.vector
    demo = parse_config(demo_config(), "the demo's configuration", ())
    sampling = demo.target.sampling.model_copy(update={"max_tokens": tokens, "seed": seed})
    laboratory = Laboratory(model, {"": vector}, Demonstration(), sampling, settings.batch_size)
    reporter = ConsoleReporter()
    with Journal(journal_path(material.folder, seed)) as journal:
        known = {trial.key: trial for trial in journalled(journal, Trial)}
        before = set(known)
        begin = time.perf_counter()
        questions = dev_questions(material.split, settings)
        spots = spots_of({"": settings.layers or LAYERS}, settings)
        jobs = [*unsteered_jobs(questions), *steered_jobs((spot, each) for spot in spots for each in questions)]
        trials = laboratory.run(jobs, journal, known, reporter, f"{material.trait}, seed {seed}")
        seconds = time.perf_counter() - begin
    new = [trial for trial in trials if trial.key not in before]
    answers = read_responses(material.folder / RESPONSES)
    trials += laboratory.of_source(answers, held_out(material.split))
    scorer = MetricScorer(choose_metric(None, read_trait(material.trait), "the trait's metric"))
    return Grid(scorer.scored(trials), len(new), sum(trial.tokens for trial in new), seconds)


def whole_grid() -> SweepSettings:
    """The sweep of 10 layers × 6 strengths × 12 questions × 64 tokens, with a minimum coherence as in the demo."""
    demo = parse_config(demo_config(), "the demo's configuration", ()).sweep
    return SweepSettings(
        layers=LAYERS,
        strengths=STRENGTHS,
        questions=QUESTIONS,
        max_tokens=TOKENS,
        min_coherence=demo.min_coherence,
    )
