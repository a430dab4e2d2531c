"""Robust mean difference: the geometric median of the pairs' differences, which a few odd pairs cannot pull away.

Up to half of the pairs may lie anywhere (Lopuhaä & Rousseeuw 1991); in many dimensions it costs next to nothing where
no pair is odd (Magyar & Tyler 2011). Found with Weiszfeld's iteration.

Shapes: N pairs, D width, R rows of weights.
"""

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators.differences import Differences

_STEPS = 500
_TOLERANCE = 1e-9
"""Of the weights, between two steps."""
_SOFTENING = 1e-6
"""Of a distance, in units of the typical one: a pair that the median meets exactly would weigh infinitely much."""


def robust_mean_diff(
    chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """The point whose distances to the pairs' (chosen − rejected) have the smallest sum. See `Estimator`."""
    pairs = Differences.of(chosen_ND, rejected_ND, weights_RN)
    products_NN = pairs.products_NN()
    squares_N = np.diagonal(products_NN)
    share_RN = pairs.size_RN / pairs.size_RN.sum(axis=1, keepdims=True)
    softening = _SOFTENING**2 * float(squares_N.mean())
    if softening == 0:
        return pairs.mean_RD  # every difference is zero
    for _ in range(_STEPS):
        # ‖d_i − m‖² with m = Σ share_j d_j, out of the products alone.
        inner_RN = pairs.sign_RN * ((share_RN * pairs.sign_RN) @ products_NN)
        length_R1 = (share_RN * inner_RN).sum(axis=1, keepdims=True)
        distance_RN = np.sqrt(np.maximum(squares_N - 2 * inner_RN + length_R1, 0) + softening)
        new_RN = pairs.size_RN / distance_RN
        new_RN /= new_RN.sum(axis=1, keepdims=True)
        moved = np.abs(new_RN - share_RN).max()
        share_RN = new_RN
        if moved < _TOLERANCE:
            break
    directions_RD: npt.NDArray[np.float64] = (share_RN * pairs.sign_RN) @ pairs.values_ND
    return directions_RD
