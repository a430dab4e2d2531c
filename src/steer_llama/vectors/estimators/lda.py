"""Shrinkage LDA: the mean difference, whitened by how answers of one arm vary.

Directions along which answers vary anyway (topics above all) count less. The covariance is shrunk towards a multiple of
the identity, by the share that Ledoit & Wolf (2004) find, as there are fewer answers than dimensions.

Shapes: N pairs, D width, R rows of weights, A answers (2N: chosen, then rejected).
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from steer_llama.vectors.estimators.differences import Floats, along

_LEAST = 1e-6
"""Shrinkage at least: without any, a covariance of few answers has no inverse."""


def lda(
    chosen_ND: npt.ArrayLike,
    rejected_ND: npt.ArrayLike,
    weights_RN: npt.ArrayLike | None = None,
    *,
    shrinkage: float | None = None,
) -> npt.NDArray[np.float64]:
    """Σ⁻¹ · (mean chosen − mean rejected), as long as the arms lie apart on it. See `Estimator`.

    Args:
        chosen_ND: see `Estimator`.
        rejected_ND: see `Estimator`.
        weights_RN: see `Estimator`.
        shrinkage: share of the identity in Σ, above 0 to 1; default: Ledoit and Wolf's, of all the pairs.
    """
    answers_AD = np.concatenate([np.asarray(chosen_ND, np.float64), np.asarray(rejected_ND, np.float64)])
    answers_AD -= answers_AD.mean(axis=0)
    n_pairs = len(answers_AD) // 2
    weights = np.full((1, n_pairs), 1 / n_pairs) if weights_RN is None else np.asarray(weights_RN, np.float64)
    classes_A2 = np.repeat(np.eye(2), n_pairs, axis=0)
    if shrinkage is None:
        shrinkage = ledoit_wolf(answers_AD - classes_A2 @ (classes_A2.T @ answers_AD) / n_pairs)
    shrinkage = max(shrinkage, _LEAST)
    means_RD = np.concatenate([weights, -weights], axis=1) @ answers_AD
    axes_RD = np.empty_like(means_RD)
    for row, weights_N in enumerate(weights):
        swapped_N = weights_N < 0
        counts_A = np.tile(np.abs(weights_N), 2)
        is_chosen_A = np.concatenate([~swapped_N, swapped_N])
        centred_AD = answers_AD.copy()
        for arm in (is_chosen_A, ~is_chosen_A):
            centred_AD[arm] -= counts_A[arm] @ answers_AD[arm] / counts_A[arm].sum()
        used = counts_A > 0
        # Each arm's weights add up to 1, so the pooled covariance is half of the sum.
        scaled_AD = centred_AD[used] * np.sqrt(counts_A[used] / 2)[:, None]
        axes_RD[row] = _whitened(scaled_AD, means_RD[row], shrinkage)
    return along(axes_RD, means_RD)


def ledoit_wolf(centred_AD: Floats) -> float:
    """The share of the identity that is expected to bring the covariance closest to the true one.

    Ledoit & Wolf, *A well-conditioned estimator for large-dimensional covariance matrices* (2004), out of the products
    of the answers.
    """
    n_answers, width = centred_AD.shape
    products_AA = centred_AD @ centred_AD.T
    squares_A = np.diagonal(products_AA)
    size = float((products_AA**2).sum()) / n_answers**2
    """‖S‖², the Frobenius norm of the covariance."""
    spread = size - (squares_A.sum() / n_answers) ** 2 / width
    error = (float((squares_A**2).sum()) / n_answers - size) / n_answers
    return float(np.clip(error / spread, 0, 1)) if spread > 0 else 1.0


def _whitened(scaled_AD: Floats, mean_D: Floats, shrinkage: float) -> Floats:
    """((1 − γ) XᵀX + γ τ I)⁻¹ · mean, with τ the mean variance of a dimension."""
    n_answers, width = scaled_AD.shape
    ridge = shrinkage * float((scaled_AD**2).sum()) / width
    if ridge == 0:
        return mean_D  # nothing varies, or there is one pair
    kept = 1 - shrinkage
    if n_answers >= width:
        full_DD = kept * scaled_AD.T @ scaled_AD + ridge * np.eye(width)
        solved: Floats = cho_solve(cho_factor(full_DD), mean_D)
        return solved
    # Woodbury: a system of A equations and not of D.
    inner_AA = kept * scaled_AD @ scaled_AD.T + ridge * np.eye(n_answers)
    within_A = cho_solve(cho_factor(inner_AA), scaled_AD @ mean_D)
    wanted_D: Floats = (mean_D - kept * scaled_AD.T @ within_A) / ridge
    return wanted_D
