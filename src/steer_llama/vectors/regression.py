"""The regression of the pairs' differences on those of their confounds, for one row of weights.

Shapes: N pairs, D width, K confounds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Regression:
    """What gives the intercept and the slopes, whatever the activations are.

    Swapping arms is for the null, and so it swaps what confounds leave of a difference: the residuals of a regression
    without intercept, whose confounds stay where they are (Freedman & Lane 1983). If a pair's confounds were swapped
    with its arms, they would be alike in both on average, the intercept would be found far more precisely than it
    is, and everything would look real.
    """

    signed_N: Floats
    """The row: what each pair counts, negative where its arms are swapped."""
    weights_N: Floats
    """Of the differences in the intercept."""
    slopes_KN: Floats
    """Of the differences in the slopes, none being swapped."""
    _confounds_NK: Floats
    _slopes_alone_KN: Floats
    """The same without intercept."""
    _louder: float
    """Residuals are quieter than the noise that they are made of; times this the intercept is as noisy as the real."""

    @classmethod
    def of(cls, signed_N: Floats, confounds_NK: Floats) -> "Regression":
        """Solve it for a row of weights and the confounds' differences."""
        size_N = np.abs(signed_N)
        intercept_N, *slopes = _coefficients(size_N, np.concatenate([np.ones((len(size_N), 1)), confounds_NK], axis=1))
        alone_KN = _coefficients(size_N, confounds_NK)
        weights_N, louder = intercept_N, 1.0
        if (signed_N < 0).any():
            swapped_N = np.sign(signed_N) * intercept_N
            weights_N = swapped_N - (swapped_N @ confounds_NK) @ alone_KN
            louder = float(np.linalg.norm(intercept_N) / (np.linalg.norm(weights_N) or 1))
        slopes_KN = np.reshape(slopes, alone_KN.shape)
        return cls(signed_N, louder * weights_N, slopes_KN, confounds_NK, alone_KN, louder)

    def matched(self, difference_ND: Floats) -> Floats:
        """The differences without what they owe to the confounds; it is for the estimator to swap them."""
        swapped_N1 = np.where(self.signed_N < 0, -1.0, 1.0)[:, None]
        if (swapped_N1 > 0).all():
            matched_ND: Floats = difference_ND - self._confounds_NK @ (self.slopes_KN @ difference_ND)
            return matched_ND
        left_ND = self._louder * (difference_ND - self._confounds_NK @ (self._slopes_alone_KN @ difference_ND))
        slopes_KD = self.slopes_KN @ (swapped_N1 * left_ND)
        rest_ND: Floats = left_ND - swapped_N1 * (self._confounds_NK @ slopes_KD)
        return rest_ND


def _coefficients(size_N: Floats, design_NK: Floats) -> Floats:
    """What gives the coefficients (K, N) of a weighted least squares fit."""
    root_N = np.sqrt(size_N)
    scale_K = np.maximum(np.abs(design_NK).max(axis=0), 1e-300)
    solution_KN = np.linalg.pinv(root_N[:, None] * design_NK / scale_K, rcond=1e-10)
    coefficients_KN: Floats = solution_KN * root_N / scale_K[:, None]
    return coefficients_KN
