"""From the sweep's answers to a verdict: pure statistics, and the pictures of it."""

from steer_llama.evaluation.choose import Choice, Wanted, choose, choose_winner
from steer_llama.evaluation.coherence import Level, coherence, coherence_interval, level_of, norm_of
from steer_llama.evaluation.correlation import correlation
from steer_llama.evaluation.intervals import mean_interval, paired_difference_interval
from steer_llama.evaluation.measured import measure
from steer_llama.evaluation.verdict import MIN_QUESTIONS, judge_sweep

__all__ = [
    "MIN_QUESTIONS",
    "Choice",
    "Level",
    "Wanted",
    "choose",
    "choose_winner",
    "coherence",
    "coherence_interval",
    "correlation",
    "judge_sweep",
    "level_of",
    "mean_interval",
    "measure",
    "norm_of",
    "paired_difference_interval",
]
