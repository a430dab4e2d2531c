"""How two measurements go together."""

from collections.abc import Sequence

import numpy as np


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's r; ``None`` for fewer than two values, or where one side is constant."""
    if len(first) < 2 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(np.corrcoef(first, second)[0, 1])
