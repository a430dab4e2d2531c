"""Mean difference: the default, and hard to beat (CAA, arXiv 2312.06681; compared in arXiv 2502.02716)."""

import numpy as np
import numpy.typing as npt

_COLUMNS = 512
"""Columns that are in memory as float64 at once."""


def mean_diff(
    chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """Mean over the pairs of (chosen − rejected), in residual units, not normalised. See `Estimator`."""
    chosen, rejected = np.asarray(chosen_ND), np.asarray(rejected_ND)
    n_pairs, width = chosen.shape
    weights = np.full((1, n_pairs), 1 / n_pairs) if weights_RN is None else np.asarray(weights_RN, dtype=np.float64)
    directions_RD = np.empty((len(weights), width))
    for begin in range(0, width, _COLUMNS):
        columns = slice(begin, begin + _COLUMNS)
        directions_RD[:, columns] = weights @ (chosen[:, columns].astype(np.float64) - rejected[:, columns])
    return directions_RD
