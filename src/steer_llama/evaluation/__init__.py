"""From the sweep's answers to a verdict: pure statistics, and the pictures of it."""

from steer_llama.evaluation.choose import Choice, choose_winner
from steer_llama.evaluation.coherence import Level, coherence, coherence_interval, level_of, norm_of
from steer_llama.evaluation.correlation import correlation
from steer_llama.evaluation.factual import is_right
from steer_llama.evaluation.fidelity import Yardstick, distance, fidelity
from steer_llama.evaluation.halving import Step, next_step
from steer_llama.evaluation.intervals import mean_interval, paired_difference_interval
from steer_llama.evaluation.measured import measure
from steer_llama.evaluation.objections import MIN_QUESTIONS
from steer_llama.evaluation.profiles import Scale, profile_scale
from steer_llama.evaluation.proportions import flip_p, share_change_interval, share_interval
from steer_llama.evaluation.replay import Replay, replay
from steer_llama.evaluation.side_effects import Marked, judge_side_effects
from steer_llama.evaluation.verdict import judge_sweep
from steer_llama.evaluation.wanted import Wanted
from steer_llama.evaluation.winning import Objective, choose

__all__ = [
    "MIN_QUESTIONS",
    "Choice",
    "Level",
    "Marked",
    "Objective",
    "Replay",
    "Scale",
    "Step",
    "Wanted",
    "Yardstick",
    "choose",
    "choose_winner",
    "coherence",
    "coherence_interval",
    "correlation",
    "distance",
    "fidelity",
    "flip_p",
    "is_right",
    "judge_side_effects",
    "judge_sweep",
    "level_of",
    "mean_interval",
    "measure",
    "next_step",
    "norm_of",
    "paired_difference_interval",
    "profile_scale",
    "replay",
    "share_change_interval",
    "share_interval",
]
