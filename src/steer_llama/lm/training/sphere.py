"""Steps on the unit sphere.

Shapes: D width.
"""

import math

import torch
from torch import Tensor

_MOMENTUM, _SCALE_MEMORY = 0.9, 0.99


class SphereSteps:
    """Adam's rule with one scale for all coordinates, on the unit sphere.

    A step goes along the running mean of the gradient, divided by the gradient's running size, so that the rate is an
    angle whatever the width of the model or the scale of the loss, and the result does not depend on the basis. The
    rate falls linearly, to 0 after ``steps``.
    """

    def __init__(self, learning_rate: float, steps: int) -> None:
        """``learning_rate`` in radians is the first step's; later ones are shorter where gradients differ."""
        self._rate, self._steps, self._done = learning_rate, steps, 0
        self._mean_D: Tensor | float = 0.0
        self._square = 0.0

    def __call__(self, unit_D: Tensor, gradient_D: Tensor) -> Tensor:
        """The next unit vector; the same one where there is no gradient."""
        tangent_D = gradient_D - (gradient_D @ unit_D) * unit_D
        self._mean_D = _MOMENTUM * self._mean_D + (1 - _MOMENTUM) * tangent_D
        self._square = _SCALE_MEMORY * self._square + (1 - _SCALE_MEMORY) * float(tangent_D @ tangent_D)
        rate = self._rate * (1 - self._done / self._steps)
        self._done += 1
        size = math.sqrt(self._square / (1 - _SCALE_MEMORY**self._done)) * (1 - _MOMENTUM**self._done)
        if size == 0:
            return unit_D
        return torch.nn.functional.normalize(unit_D - rate * self._mean_D / size, dim=0)
