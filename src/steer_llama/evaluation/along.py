"""From projections to what is shown of them: which tokens are outsized, the colours' scale, and means.

Shapes: A axes, T tokens.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from steer_llama.records import Averages

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Centre = Literal["median", "zero"]

MASSIVE = 3.0
"""A token is massive from this many times the text's median ‖residual‖ on. In a conversation read by SmolLM2 the first
token has up to 142 times (layer 15) and some "the" 10 (layer 2); others have at most 2.3. Cf. arXiv 2402.17762."""
_SHARE = 0.98
"""Share of the tokens that lie within the colours' scale."""


def massive_tokens(norm_T: Floats) -> Mask:
    """Which tokens of a text have a residual so large that their projections say little about the text."""
    massive_T: Mask = norm_T >= MASSIVE * np.median(norm_T)
    return massive_T


def colour_scale(strength_T: Floats, centre: Centre) -> tuple[float, float]:
    """The middle of the colours, and the distance from it at which they are full.

    Args:
        strength_T: what the scale is made for: the answers' tokens, without massive ones.
        centre: ``median`` of these tokens, or ``zero``.
    """
    if not len(strength_T):
        return 0.0, 1.0
    middle = 0.0 if centre == "zero" else float(np.median(strength_T))
    limit = float(np.quantile(np.abs(strength_T - middle), _SHARE))
    return middle, limit or 1.0


def averages(projection_AT: Floats, massive_AT: Mask, residual_norm_A: Sequence[float]) -> Averages:
    """Means over tokens, with and without massive ones; none where there are no tokens."""
    count = projection_AT.shape[1]
    rows = zip(projection_AT, massive_AT, residual_norm_A, strict=True)
    means = [(_mean(row_T), _mean(row_T[~massive_T]), norm) for row_T, massive_T, norm in rows]
    return Averages(
        tokens=count,
        projection=tuple(mean for mean, _, _ in means),
        strength=tuple(None if mean is None else mean / norm for mean, _, norm in means),
        massive=tuple(int(number) for number in massive_AT.sum(axis=1)),
        ordinary_strength=tuple(None if mean is None else mean / norm for _, mean, norm in means),
    )


def _mean(values_T: Floats) -> float | None:
    return float(values_T.mean()) if len(values_T) else None
