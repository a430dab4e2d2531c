"""How a direction is estimated from pairs: one pure function a file."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators.mean_difference import mean_difference

Estimator = Callable[[npt.ArrayLike, npt.ArrayLike], npt.NDArray[np.float64]]

ESTIMATORS: Mapping[str, Estimator] = {"mean_difference": mean_difference}

__all__ = ["ESTIMATORS", "Estimator", "mean_difference"]
