"""What the estimators after the mean difference have in common: pairs' differences, and their products.

A direction is a combination of the pairs' differences, so it is found among N numbers and not among D: with the
products of all differences at hand, another row of weights costs no look at the activations.

Shapes: N pairs, D width, R rows of weights.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Differences:
    """Chosen minus rejected, and how much each counts."""

    values_ND: Floats
    size_RN: Floats
    """|weight|; a row adds up to 1."""
    sign_RN: Floats
    """−1 where a pair's arms are swapped."""

    @classmethod
    def of(
        cls, chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None
    ) -> "Differences":
        """Take the difference in float64; all pairs alike where no weights are given."""
        values_ND = np.asarray(chosen_ND, dtype=np.float64) - np.asarray(rejected_ND, dtype=np.float64)
        n_pairs = len(values_ND)
        weights = np.full((1, n_pairs), 1 / n_pairs) if weights_RN is None else np.asarray(weights_RN, np.float64)
        return cls(values_ND, np.abs(weights), np.where(weights < 0, -1.0, 1.0))

    @property
    def mean_RD(self) -> Floats:
        """Their weighted mean."""
        return (self.size_RN * self.sign_RN) @ self.values_ND

    def products_NN(self) -> Floats:
        """The inner product of every two."""
        return self.values_ND @ self.values_ND.T


def in_their_span(values_ND: Floats) -> tuple[Floats, Floats]:
    """The differences in coordinates of the space that they span, and the way back, where there are fewer than D."""
    n_pairs, width = values_ND.shape
    if n_pairs >= width:
        return values_ND, np.eye(width)
    basis_DN, coordinates_NN = qr(values_ND.T, mode="economic")
    return np.ascontiguousarray(coordinates_NN.T), basis_DN.T


def along(axes_RD: Floats, mean_RD: Floats) -> Floats:
    """Every axis as a direction: it points to where the chosen arm lies, and is as long as the arms lie apart on it.

    An axis has no sign and no length of its own; the mean difference decides both.
    """
    norms_R1 = np.linalg.norm(axes_RD, axis=1, keepdims=True)
    units_RD = np.divide(axes_RD, norms_R1, out=np.zeros_like(axes_RD), where=norms_R1 > 0)
    directions_RD: Floats = units_RD * (units_RD * mean_RD).sum(axis=1, keepdims=True)
    return directions_RD
