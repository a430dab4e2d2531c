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
        shrinkage: share of the identity in Σ, above 0 to 1; default: Ledoit and Wolf's, of a row's pairs.
    """
    chosen, rejected = (np.asarray(arm_ND, np.float64) for arm_ND in (chosen_ND, rejected_ND))
    answers_AD = np.concatenate([chosen, rejected])
    answers_AD -= answers_AD.mean(axis=0)
    n_answers, width = answers_AD.shape
    n_pairs = n_answers // 2
    weights = np.full((1, n_pairs), 1 / n_pairs) if weights_RN is None else np.asarray(weights_RN, np.float64)
    signed_RA = np.concatenate([weights, -weights], axis=1)
    means_RD = weights @ (chosen - rejected)  # and not of the answers: of arms that are alike it is exactly 0
    if n_answers >= width:
        rows = (_in_dimensions(answers_AD, signed_A, shrinkage) for signed_A in signed_RA)
        return along(np.stack(list(rows)), means_RD)
    products_AA = answers_AD @ answers_AD.T
    combined_RA = np.stack([_in_answers(products_AA, signed_A, width, shrinkage) for signed_A in signed_RA])
    return along(combined_RA @ answers_AD, means_RD)


def ledoit_wolf(covariance: Floats, squares_A: Floats, share_A: Floats, width: int) -> float:
    """The share of the identity that is expected to bring the covariance closest to the true one.

    Ledoit & Wolf, *A well-conditioned estimator for large-dimensional covariance matrices* (2004), with
    weights: answers that count differently are worth as many as Kish (1965) says.

    Args:
        covariance: of the centred answers (D, D); or the products that have the same eigenvalues (A, A).
        squares_A: ‖centred answer‖².
        share_A: what each counts; adds up to 1.
        width: D.
    """
    size = float((covariance**2).sum())
    spread = size - float(np.trace(covariance)) ** 2 / width
    error = (float(share_A @ squares_A**2) - size) * float((share_A**2).sum())
    return float(np.clip(error / spread, 0, 1)) if spread > 0 else 1.0


def _in_dimensions(answers_AD: Floats, signed_A: Floats, shrinkage: float | None) -> Floats:
    """Σ⁻¹ · mean (D), out of a system of D equations."""
    centred_AD = answers_AD.copy()
    for arm in (signed_A > 0, signed_A < 0):
        centred_AD[arm] -= np.abs(signed_A[arm]) @ answers_AD[arm] / np.abs(signed_A[arm]).sum()
    share_A = np.abs(signed_A) / 2
    width = answers_AD.shape[1]
    full_DD = (centred_AD * share_A[:, None]).T @ centred_AD
    kept, ridge = _regularised(full_DD, (centred_AD**2).sum(axis=1), share_A, width, shrinkage)
    mean_D: Floats = signed_A @ answers_AD
    if ridge == 0:
        return mean_D
    solved: Floats = cho_solve(cho_factor(kept * full_DD + ridge * np.eye(width)), mean_D)
    return solved


def _in_answers(products_AA: Floats, signed_A: Floats, width: int, shrinkage: float | None) -> Floats:
    """The same as a combination of the answers (A), out of a system of A equations (Woodbury)."""
    used = np.flatnonzero(signed_A)
    signed, share = signed_A[used], np.abs(signed_A[used]) / 2
    arms = signed > 0, signed < 0
    centred = products_AA[np.ix_(used, used)]
    mean = centred @ signed
    for arm in arms:  # each arm's shares add up to 1/2
        mean[arm] -= 2 * share[arm] @ mean[arm]
        centred[arm] -= 2 * share[arm] @ centred[arm]
    for arm in arms:
        centred[:, arm] -= 2 * (centred[:, arm] @ share[arm])[:, None]
    squares = np.diagonal(centred).copy()
    root = np.sqrt(share)
    centred *= root[:, None] * root
    kept, ridge = _regularised(centred, squares, share, width, shrinkage)
    combined = signed
    if ridge > 0:
        centred *= kept
        centred[np.diag_indices_from(centred)] += ridge
        within = root * cho_solve(cho_factor(centred, overwrite_a=True, check_finite=False), root * mean)
        for arm in arms:
            within[arm] -= 2 * share[arm] * within[arm].sum()
        combined = signed - kept * within
    combined_A = np.zeros_like(signed_A)
    combined_A[used] = combined
    return combined_A


def _regularised(
    covariance: Floats, squares_A: Floats, share_A: Floats, width: int, shrinkage: float | None
) -> tuple[float, float]:
    """What the covariance is multiplied by, and what is added to its diagonal; 0 where nothing varies."""
    share = ledoit_wolf(covariance, squares_A, share_A, width) if shrinkage is None else shrinkage
    share = max(share, _LEAST)
    return 1 - share, share * max(float(np.trace(covariance)), 0.0) / width
