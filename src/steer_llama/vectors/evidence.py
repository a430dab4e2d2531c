"""How far a direction can be trusted, from the pairs alone (before any text is steered).

Shapes: N pairs, D width, R resamplings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators import Estimator

Floats = npt.NDArray[np.float64]


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
    """95% quantile of ‖direction‖ when each pair's arms are swapped at random: no style would reach further."""
    opposed_share: float | None
    """Share of pairs whose own difference points away from the direction of all the others."""


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
    chosen, rejected = np.asarray(chosen_ND, dtype=np.float64), np.asarray(rejected_ND, dtype=np.float64)
    direction_D = estimate(chosen, rejected)
    norm = float(np.linalg.norm(direction_D))
    n_pairs = len(chosen)
    if n_pairs < 2 or resamplings == 0:
        return LayerEvidence(norm, None, None, None, None, None)
    generator = np.random.default_rng(seed)
    boot_RD = np.stack(
        [estimate(chosen[rows], rejected[rows]) for rows in generator.integers(0, n_pairs, (resamplings, n_pairs))]
    )
    boot_cosine_R = cosines(boot_RD, direction_D)
    boot_norm_R = np.linalg.norm(boot_RD, axis=1)
    halves_R = [
        _split_half(estimate, chosen, rejected, generator.permutation(n_pairs)) for _ in range(min(resamplings, 50))
    ]
    swaps_RN = generator.random((resamplings, n_pairs)) < 0.5
    null_R = [
        float(np.linalg.norm(estimate(np.where(s[:, None], rejected, chosen), np.where(s[:, None], chosen, rejected))))
        for s in swaps_RN
    ]
    return LayerEvidence(
        norm=norm,
        bootstrap_cosine=(float(boot_cosine_R.mean()), *_interval(boot_cosine_R)),
        bootstrap_norm=_interval(boot_norm_R),
        split_half_cosine=float(np.mean(halves_R)),
        null_norm=float(np.quantile(null_R, 0.95)),
        opposed_share=_opposed_share(chosen - rejected),
    )


def cosines(vectors_RD: Floats, direction_D: Floats) -> Floats:
    """Cosine of every row with a direction; 0 where either is zero."""
    norms = np.linalg.norm(vectors_RD, axis=1) * np.linalg.norm(direction_D)
    result: Floats = np.divide(vectors_RD @ direction_D, norms, out=np.zeros(len(vectors_RD)), where=norms > 0)
    return result


def _split_half(estimate: Estimator, chosen: Floats, rejected: Floats, order: npt.NDArray[np.int64]) -> float:
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    other = estimate(chosen[second], rejected[second])
    return float(cosines(estimate(chosen[first], rejected[first])[None], other)[0])


def _opposed_share(difference_ND: Floats) -> float:
    others_ND = difference_ND.sum(axis=0) - difference_ND
    return float((np.einsum("nd,nd->n", others_ND, difference_ND) < 0).mean())


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
