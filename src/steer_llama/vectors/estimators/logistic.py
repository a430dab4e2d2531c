"""Logistic probe on the pairs' differences (a Bradley–Terry model: which of the two answers is the chosen one?).

Probing the difference and not the answers leaves out what the two answers of a pair have in common, their topic above
all. AxBench (arXiv 2501.17148) compares probes with mean differences.

Shapes: N pairs, D width, R rows of weights, F features.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import expit

from steer_llama.vectors.estimators.differences import Differences, Floats, along

_PENALTY = 0.01
"""λ in: mean log loss + λ/2 ‖w‖², where the differences' root mean square length is 1."""

_EXACT = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 1000}


def logistic(
    chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """The normal of a logistic regression without intercept, as long as the arms lie apart on it. See `Estimator`."""
    pairs = Differences.of(chosen_ND, rejected_ND, weights_RN)
    features_NF, back_FD = _features(pairs.values_ND)
    squares_N = (features_NF**2).sum(axis=1)
    axes_RD = np.empty((len(pairs.size_RN), pairs.values_ND.shape[1]))
    for row, (size_N, sign_N) in enumerate(zip(pairs.size_RN, pairs.sign_RN, strict=True)):
        scale = np.sqrt(size_N @ squares_N) or 1.0
        axes_RD[row] = _normal(features_NF * (sign_N / scale)[:, None], size_N) @ back_FD
    return along(axes_RD, pairs.mean_RD)


def _normal(features_NF: Floats, size_N: Floats) -> Floats:
    """The w that makes Σ size · log(1 + exp(−w·x)) + λ/2 ‖w‖² smallest."""

    def loss(normal_F: Floats) -> tuple[float, Floats]:
        margin_N = features_NF @ normal_F
        value = float(size_N @ np.logaddexp(0, -margin_N)) + _PENALTY / 2 * float(normal_F @ normal_F)
        return value, _PENALTY * normal_F - (size_N * expit(-margin_N)) @ features_NF

    found: Floats = minimize(loss, np.zeros(features_NF.shape[1]), jac=True, method="L-BFGS-B", options=_EXACT).x
    return found


def _features(values_ND: Floats) -> tuple[Floats, Floats]:
    """The differences in coordinates of their own span where that is smaller, and the way back to the residual stream.

    A ridge penalty keeps the solution in the span, so nothing is lost (Kimeldorf & Wahba 1971).
    """
    n_pairs, width = values_ND.shape
    if n_pairs >= width:
        return values_ND, np.eye(width)
    squares_N, axes_NN = eigh(values_ND @ values_ND.T)
    kept = squares_N > squares_N[-1] * 1e-12
    if not kept.any():
        return np.zeros((n_pairs, 1)), np.zeros((1, width))
    lengths_F, axes_NF = np.sqrt(squares_N[kept]), axes_NN[:, kept]
    return axes_NF * lengths_F, (axes_NF / lengths_F).T @ values_ND
