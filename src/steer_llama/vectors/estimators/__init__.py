"""How a direction is estimated from pairs: one pure function a file."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators.lda import lda
from steer_llama.vectors.estimators.logistic import logistic
from steer_llama.vectors.estimators.mean_diff import mean_diff
from steer_llama.vectors.estimators.pca import pca
from steer_llama.vectors.estimators.robust_mean_diff import robust_mean_diff


class Estimator(Protocol):
    """A way to get a direction from pairs."""

    def __call__(
        self, chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None, /
    ) -> npt.NDArray[np.float64]:
        """One direction per row of weights (R, D), in float64; a single row, all pairs alike, where none are given.

        It points from the rejected to the chosen arm, in residual units: its length is how far the arms' means lie
        apart along it.

        Args:
            chosen_ND: each pair's mean residual over the chosen answer (N pairs, D width).
            rejected_ND: the same over the rejected answer.
            weights_RN: what each pair counts in each of R estimates; a row's absolute values add up to 1, and a
                negative weight swaps the pair's two arms.
        """
        ...


ESTIMATORS: Mapping[str, Estimator] = {
    "mean_diff": mean_diff,
    "robust_mean_diff": robust_mean_diff,
    "pca": pca,
    "logistic": logistic,
    "lda": lda,
}
LINEAR = frozenset({"mean_diff"})
"""Those whose direction is linear in the weights, whatever these add up to."""
OF_DIFFERENCES = frozenset({"robust_mean_diff", "pca", "logistic"})
"""Those that see the pairs' differences alone, and not where the answers lie."""

__all__ = [
    "ESTIMATORS",
    "LINEAR",
    "OF_DIFFERENCES",
    "Estimator",
    "lda",
    "logistic",
    "mean_diff",
    "pca",
    "robust_mean_diff",
]
