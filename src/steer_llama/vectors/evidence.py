"""How far a direction can be trusted, from the pairs alone (before any text is steered).

Shapes: N pairs, D width, R resamplings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators import Estimator

Floats = npt.NDArray[np.float64]

_SPLITS = 50
_ROWS = 256
"""Resampled directions that are in memory at once."""


@dataclass(frozen=True)
class LayerEvidence:
    """What the pairs say about the direction of one layer."""

    norm: float
    """‖direction‖."""
    bootstrap_cosine: tuple[float, float, float] | None
    """Cosine of the direction with those of resampled pairs: mean, 2.5% and 97.5% quantile."""
    bootstrap_norm: tuple[float, float] | None
    """2.5% and 97.5% quantile of the resampled ‖direction‖."""
    split_half_cosine: float | None
    """Mean cosine between the directions of two random halves of the pairs."""
    null_norm: float | None
    """95% quantile of ‖direction‖ when each pair's arms are swapped at random. A ‖direction‖ below it is what pairs
    without any difference in style would give."""
    opposed_share: float | None
    """Share of pairs whose own difference points away from the sum of all the others'."""


def layer_evidence(
    estimate: Estimator, chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, resamplings: int, seed: int
) -> LayerEvidence:
    """Measure the evidence for one layer's direction.

    Args:
        estimate: the estimator that gave the direction.
        chosen_ND: each pair's mean residual over the chosen answer.
        rejected_ND: the same over the rejected answer.
        resamplings: for each interval; 0 leaves the intervals out.
        seed: of the resamplings.
    """
    chosen, rejected = np.asarray(chosen_ND), np.asarray(rejected_ND)
    direction_D = estimate(chosen, rejected)[0]
    norm = float(np.linalg.norm(direction_D))
    n_pairs = len(chosen)
    if n_pairs < 2 or resamplings == 0:
        return LayerEvidence(norm, None, None, None, None, None)
    generator = np.random.default_rng(seed)

    def resampled(count: int, draw: Callable[[int], Floats], measure: Callable[[Floats], Floats]) -> Floats:
        """``measure`` of the directions of ``count`` draws of weights (R, N), a batch at a time."""
        batches = [min(_ROWS, count - begin) for begin in range(0, count, _ROWS)]
        return np.concatenate([measure(estimate(chosen, rejected, draw(rows))) for rows in batches], axis=-1)

    def redrawn(rows: int) -> Floats:
        return generator.multinomial(n_pairs, np.full(n_pairs, 1 / n_pairs), rows) / n_pairs

    def swapped(rows: int) -> Floats:
        return generator.choice([-1.0, 1.0], (rows, n_pairs)) / n_pairs

    boot_cosine_R, boot_norm_R = resampled(
        resamplings, redrawn, lambda boot_RD: np.stack([cosines(boot_RD, direction_D), _norms(boot_RD)])
    )
    null_R = resampled(resamplings, swapped, _norms)
    halves_RD = estimate(chosen, rejected, _halves(generator, min(resamplings, _SPLITS), n_pairs))
    return LayerEvidence(
        norm=norm,
        bootstrap_cosine=(float(boot_cosine_R.mean()), *_interval(boot_cosine_R)),
        bootstrap_norm=_interval(boot_norm_R),
        split_half_cosine=float(np.mean(cosines(halves_RD[::2], halves_RD[1::2]))),
        null_norm=float(np.quantile(null_R, 0.95)),
        opposed_share=_opposed_share(chosen, rejected),
    )


def cosines(vectors_RD: Floats, others_RD: Floats) -> Floats:
    """Cosine of every row with its other (or with a single direction); 0 where either is zero."""
    products_R, norms_R = (vectors_RD * others_RD).sum(axis=-1), _norms(vectors_RD) * _norms(others_RD)
    result: Floats = np.divide(products_R, norms_R, out=np.zeros_like(products_R), where=norms_R > 0)
    return result


def _norms(vectors_RD: Floats) -> Floats:
    norms_R: Floats = np.linalg.norm(vectors_RD, axis=-1)
    return norms_R


def _halves(generator: np.random.Generator, splits: int, n_pairs: int) -> Floats:
    """Weights of the first and the second half of random splits, in turn (2 · splits, N)."""
    weights = np.zeros((2 * splits, n_pairs))
    for split in range(splits):
        order_N = generator.permutation(n_pairs)
        for half, members in enumerate((order_N[: n_pairs // 2], order_N[n_pairs // 2 :])):
            weights[2 * split + half, members] = 1 / len(members)
    return weights


def _opposed_share(chosen_ND: Floats, rejected_ND: Floats) -> float:
    total_D = np.zeros(chosen_ND.shape[1])
    for pair in range(len(chosen_ND)):
        total_D += chosen_ND[pair].astype(np.float64) - rejected_ND[pair]
    opposed = 0
    for pair in range(len(chosen_ND)):
        own_D = chosen_ND[pair].astype(np.float64) - rejected_ND[pair]
        opposed += bool(own_D @ (total_D - own_D) < 0)
    return opposed / len(chosen_ND)


def _interval(values_R: Floats) -> tuple[float, float]:
    low, high = np.quantile(values_R, [0.025, 0.975])
    return float(low), float(high)


def as_columns(layers: Sequence[LayerEvidence]) -> dict[str, object]:
    """Evidence of all layers as JSON columns, one entry per layer; what was not measured is left out."""
    columns: dict[str, object] = {"norm": [layer.norm for layer in layers]}
    if layers[0].bootstrap_cosine is None:
        return columns
    triples = [layer.bootstrap_cosine or (0.0, 0.0, 0.0) for layer in layers]
    columns["bootstrap_cosine"] = dict(zip(("mean", "low", "high"), map(list, zip(*triples, strict=True)), strict=True))
    columns["bootstrap_norm"] = dict(
        zip(
            ("low", "high"), map(list, zip(*(layer.bootstrap_norm or () for layer in layers), strict=True)), strict=True
        )
    )
    columns["split_half_cosine"] = [layer.split_half_cosine for layer in layers]
    columns["null_norm"] = [layer.null_norm for layer in layers]
    columns["opposed_share"] = [layer.opposed_share for layer in layers]
    return columns
