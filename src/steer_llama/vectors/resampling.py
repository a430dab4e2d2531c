"""Which pairs count how much in every estimate that the evidence needs: drawn once, the same for all layers.

Shapes: N pairs, R resamplings, F folds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SPLITS = 50
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Resampling:
    """Rows of weights, as an `Estimator` takes them."""

    redrawn_RN: Floats
    """The bootstrap: pairs drawn with replacement."""
    swapped_RN: Floats
    """The null: each pair's arms swapped, or not, by a coin."""
    halves_RN: Floats
    """The first and the second half of random splits, in turn."""
    folds_FN: Floats
    """All pairs but those of a fold."""

    @classmethod
    def draw(cls, n_pairs: int, count: int, seed: int) -> "Resampling | None":
        """Draw ``count`` resamplings; ``None`` where there are fewer than two pairs or none are wanted."""
        if n_pairs < 2 or count == 0:
            return None
        generator = np.random.default_rng(seed)
        redrawn_RN = generator.multinomial(n_pairs, np.full(n_pairs, 1 / n_pairs), count) / n_pairs
        swapped_RN = generator.choice([-1.0, 1.0], (count, n_pairs)) / n_pairs
        halves_RN = _halves(generator, min(count, _SPLITS), n_pairs)
        fold_N = generator.permutation(n_pairs) % min(_FOLDS, n_pairs)
        folds_FN = (fold_N != np.arange(fold_N.max() + 1)[:, None]).astype(np.float64)
        return cls(redrawn_RN, swapped_RN, halves_RN, folds_FN / folds_FN.sum(axis=1, keepdims=True))


def _halves(generator: np.random.Generator, splits: int, n_pairs: int) -> Floats:
    weights = np.zeros((2 * splits, n_pairs))
    for split in range(splits):
        order_N = generator.permutation(n_pairs)
        for half, members in enumerate((order_N[: n_pairs // 2], order_N[n_pairs // 2 :])):
            weights[2 * split + half, members] = 1 / len(members)
    return weights
