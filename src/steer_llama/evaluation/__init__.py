"""From the sweep's answers to a verdict: pure statistics, and the pictures of it."""

from steer_llama.evaluation.choose import Choice, choose, choose_winner
from steer_llama.evaluation.intervals import mean_interval, paired_difference_interval
from steer_llama.evaluation.measured import coherence, measure
from steer_llama.evaluation.verdict import MIN_QUESTIONS, judge_sweep

__all__ = [
    "MIN_QUESTIONS",
    "Choice",
    "choose",
    "choose_winner",
    "coherence",
    "judge_sweep",
    "mean_interval",
    "measure",
    "paired_difference_interval",
]
