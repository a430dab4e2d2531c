"""What neighbours in the grid say of a condition.

Shapes: C conditions.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from steer_llama.records import Spot

Floats = npt.NDArray[np.float64]


def smoothed(spots: Sequence[Spot], value_C: Floats, counts_C: npt.NDArray[np.bool_], width: float) -> Floats:
    """Each condition's value, averaged with its neighbours' by a Gaussian of ``width`` steps of the grid.

    A step is one to the next layer or strength that occurs, whatever the distance in blocks. Neighbours have the same
    vector, mode and place; those that do not count (broken text says nothing of what a little less would do) are left
    out, but each counts for itself.
    """
    layers, strengths = (sorted({getattr(spot, name) for spot in spots}) for name in ("layer", "strength"))
    at_C2 = np.array([(layers.index(spot.layer), strengths.index(spot.strength)) for spot in spots], dtype=np.float64)
    squared_CC = ((at_C2[:, None] - at_C2[None]) ** 2).sum(axis=-1)
    kinds = [(spot.vector, spot.mode, spot.where) for spot in spots]
    alike_CC = np.array([[one == other for other in kinds] for one in kinds])
    weight_CC = np.exp(-squared_CC / (2 * width**2)) * alike_CC * counts_C[None]
    np.fill_diagonal(weight_CC, 1.0)
    averaged_C: Floats = weight_CC @ value_C / weight_CC.sum(axis=1)
    return averaged_C
