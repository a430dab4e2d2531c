"""How vectors lie to each other.

Shapes: K vectors, L layers, D width.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from steer_llama.errors import VectorError
from steer_llama.vectors.combination import rows_LD
from steer_llama.vectors.compatible import check_layers, check_models
from steer_llama.vectors.origin import origin_of

if TYPE_CHECKING:
    from steer_llama.vectors.vector import SteeringVector

Floats = npt.NDArray[np.float64]


def cosines(vectors: Sequence["SteeringVector"], *, any_model: bool = False) -> Floats:
    """Cosine of every vector with every other, layer by layer (L, K, K); 0 where one is zero.

    The layers are those of the first, in its order.

    Raises:
        VectorError: no vectors, or vectors of other models or layers.
    """
    if not vectors:
        raise VectorError("no vectors to compare: give one or more.")
    first = vectors[0]
    for other in vectors[1:]:
        pair = origin_of(first), origin_of(other)
        check_models(first, other, (pair[0].expression, pair[1].expression), any_model)
        check_layers(first, other, pair)
    stacked_KLD = np.stack([rows_LD(vector, first.layers) for vector in vectors])
    norms_KL1 = np.linalg.norm(stacked_KLD, axis=-1, keepdims=True)
    unit_KLD = np.divide(stacked_KLD, norms_KL1, out=np.zeros_like(stacked_KLD), where=norms_KL1 > 0)
    unit_LKD = unit_KLD.swapaxes(0, 1)
    cosines_LKK: Floats = np.clip(unit_LKD @ unit_LKD.swapaxes(1, 2), -1, 1)
    return cosines_LKK
