"""How a direction is estimated from pairs: one pure function a file."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators.mean_difference import mean_difference


class Estimator(Protocol):
    """A way to get a direction from pairs."""

    def __call__(
        self, chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float64]:
        """One direction per row of weights (R, D), in float64; a single row, all pairs alike, where none are given.

        Args:
            chosen_ND: each pair's mean residual over the chosen answer (N pairs, D width).
            rejected_ND: the same over the rejected answer.
            weights_RN: what each pair counts in each of R estimates; a row's absolute values add up to 1, and a
                negative weight swaps the pair's two arms.
        """
        ...


ESTIMATORS: Mapping[str, Estimator] = {"mean_difference": mean_difference}

__all__ = ["ESTIMATORS", "Estimator", "mean_difference"]
