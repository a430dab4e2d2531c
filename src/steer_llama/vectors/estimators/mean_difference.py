"""Mean difference: the default, and hard to beat (CAA, arXiv 2312.06681; compared in arXiv 2502.02716)."""

import numpy as np
import numpy.typing as npt


def mean_difference(chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean over the pairs of (chosen − rejected), every pair with the same weight; in float64.

    Args:
        chosen_ND: each pair's mean residual over the chosen answer (N pairs, D width).
        rejected_ND: the same over the rejected answer.

    Returns:
        The direction (D), in residual units, not normalised.
    """
    chosen = np.asarray(chosen_ND, dtype=np.float64)
    rejected = np.asarray(rejected_ND, dtype=np.float64)
    direction_D: npt.NDArray[np.float64] = (chosen - rejected).mean(axis=0)
    return direction_D
