"""Training a steering direction on pairs, through the model (docs/method.md, "The trained estimator").

A bias vector that is optimised on preferences, as RePS does (arXiv 2505.20809) and ReFT-r1 on answers alone (AxBench,
arXiv 2501.17148).
"""

from steer_llama.lm.training.direction import Step, Trained, train_direction
from steer_llama.lm.training.examples import MIN_PAIRS
from steer_llama.lm.training.measured import Measured

__all__ = ["MIN_PAIRS", "Measured", "Step", "Trained", "train_direction"]
