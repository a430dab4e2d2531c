"""Logistic probe on the pairs' differences (a Bradley–Terry model: which of the two answers is the chosen one?).

Probing the difference and not the answers leaves out what the two answers of a pair have in common, their topic above
all. AxBench (arXiv 2501.17148) compares probes with mean differences.

Shapes: N pairs, D width, R rows of weights.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from steer_llama.vectors.estimators.differences import Differences, along

_PENALTY = 0.01
"""λ in: mean log loss + λ/2 ‖w‖², where the differences' root mean square length is 1."""

_STEEPEST = 0.25 + _PENALTY
"""The most that the loss curves: σ' is at most 1/4, and no axis is longer than all differences together."""
_MOMENTUM = (np.sqrt(_STEEPEST / _PENALTY) - 1) / (np.sqrt(_STEEPEST / _PENALTY) + 1)
_STEPS = 1000
_TOLERANCE = 1e-9
"""Of the gradient."""


def logistic(
    chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """The normal of a logistic regression without intercept, as long as the arms lie apart on it. See `Estimator`.

    The penalty keeps it a combination of the differences (Kimeldorf & Wahba 1971). Nesterov's method finds all rows at
    once: the loss curves 26 times as much along one axis than along another at most, so some hundred steps do.
    """
    pairs = Differences.of(chosen_ND, rejected_ND, weights_RN)
    products_NN = pairs.products_NN()
    lengths_N = np.sqrt(np.diagonal(products_NN))
    scale_R1 = np.sqrt(pairs.size_RN @ lengths_N**2)[:, None]
    scaled_RN = np.divide(pairs.sign_RN, scale_R1, out=np.zeros_like(pairs.sign_RN), where=scale_R1 > 0)
    combined_RN = ahead_RN = np.zeros_like(scaled_RN)
    for _ in range(_STEPS):
        margin_RN = scaled_RN * ((ahead_RN * scaled_RN) @ products_NN)
        gradient_RN = _PENALTY * ahead_RN - pairs.size_RN * expit(-margin_RN)
        new_RN = ahead_RN - gradient_RN / _STEEPEST
        ahead_RN = new_RN + _MOMENTUM * (new_RN - combined_RN)
        combined_RN = new_RN
        if (np.abs(gradient_RN * scaled_RN) @ lengths_N).max() < _TOLERANCE:
            break
    return along((combined_RN * scaled_RN) @ pairs.values_ND, pairs.mean_RD)
