"""Taking directions out of an estimate: the mean that both arms share, or other traits' vectors.

Shapes: N pairs, D width, K other directions, R rows of weights.
"""

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators import Estimator

Floats = npt.NDArray[np.float64]


def without_shared_mean(estimate: Estimator) -> Estimator:
    """The estimator with the mean of both arms taken out of its directions.

    The residual stream has a large mean, whatever the text; a direction that leans on it shifts all of it.
    """

    def estimate_without(
        chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None, /
    ) -> Floats:
        chosen, rejected = np.asarray(chosen_ND), np.asarray(rejected_ND)
        weights = np.full((1, len(chosen)), 1 / len(chosen)) if weights_RN is None else np.abs(np.asarray(weights_RN))
        shared_RD = weights @ ((chosen.astype(np.float64) + rejected) / 2)
        norms_R1 = np.linalg.norm(shared_RD, axis=1, keepdims=True)
        units_RD = np.divide(shared_RD, norms_R1, out=np.zeros_like(shared_RD), where=norms_R1 > 0)
        directions_RD = estimate(chosen, rejected, weights_RN)
        without_RD: Floats = directions_RD - units_RD * (directions_RD * units_RD).sum(axis=1, keepdims=True)
        return without_RD

    return estimate_without


def orthogonal_to(estimate: Estimator, others_KD: npt.ArrayLike) -> Estimator:
    """The estimator with everything that other directions span taken out of its directions."""
    basis_KD = _basis(np.asarray(others_KD, dtype=np.float64))

    def estimate_orthogonal(
        chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None, /
    ) -> Floats:
        directions_RD = estimate(chosen_ND, rejected_ND, weights_RN)
        for _ in range(2):  # twice, as once leaves what rounding leaves
            directions_RD = directions_RD - (directions_RD @ basis_KD.T) @ basis_KD
        return directions_RD

    return estimate_orthogonal


def _basis(others_KD: Floats) -> Floats:
    """Orthonormal rows that span the same; zero and repeated directions add nothing."""
    norms_K1 = np.linalg.norm(others_KD, axis=1, keepdims=True)
    units_KD = (others_KD / np.where(norms_K1 > 0, norms_K1, 1))[norms_K1[:, 0] > 0]
    _, sizes, rows = np.linalg.svd(units_KD, full_matrices=False)
    basis_KD: Floats = rows[sizes > 1e-6]
    return basis_KD
