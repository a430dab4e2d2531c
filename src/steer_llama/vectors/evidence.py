"""How far a direction can be trusted, from the pairs alone (before any text is steered).

Shapes: N pairs, D width, R resamplings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators import Estimator
from steer_llama.vectors.resampling import Resampling
from steer_llama.vectors.separation import Separation, held_out_separation

Floats = npt.NDArray[np.float64]

_ROWS = 256
"""Resampled directions that are in memory at once."""


@dataclass(frozen=True)
class Stability:
    """What becomes of a direction when it is estimated again."""

    bootstrap_cosine: tuple[float, float, float]
    """Cosine of the direction with those of resampled pairs: mean, 2.5% and 97.5% quantile."""
    bootstrap_norm: tuple[float, float]
    """2.5% and 97.5% quantile of the resampled ‖direction‖."""
    split_half_cosine: float
    """Mean cosine between the directions of two random halves of the pairs."""
    null_norm: float
    """95% quantile of ‖direction‖ when each pair's arms are swapped at random. A ‖direction‖ below it is what pairs
    without any difference in style would give."""
    null_p: float
    """Share of those that are at least as long as the direction, itself included: a permutation test's p."""
    held_out: Separation


@dataclass(frozen=True)
class LayerEvidence:
    """What the pairs say about the direction of one layer."""

    norm: float
    """‖direction‖."""
    stability: Stability | None
    """``None`` where it was not measured."""


def layer_evidence(
    estimate: Estimator, chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, resampling: Resampling | None
) -> LayerEvidence:
    """Measure the evidence for one layer's direction.

    Args:
        estimate: the estimator that gave the direction.
        chosen_ND: each pair's mean residual over the chosen answer.
        rejected_ND: the same over the rejected answer.
        resampling: how the pairs are drawn again; ``None`` leaves all but the norm out.
    """
    chosen, rejected = np.asarray(chosen_ND), np.asarray(rejected_ND)
    direction_D = estimate(chosen, rejected)[0]
    norm = float(np.linalg.norm(direction_D))
    if resampling is None:
        return LayerEvidence(norm, None)

    def resampled(weights_RN: Floats, measure: Callable[[Floats], Floats]) -> Floats:
        """``measure`` of the directions of every row of weights, a batch at a time."""
        batches = [weights_RN[begin : begin + _ROWS] for begin in range(0, len(weights_RN), _ROWS)]
        return np.concatenate([measure(estimate(chosen, rejected, rows)) for rows in batches], axis=-1)

    boot_cosine_R, boot_norm_R = resampled(
        resampling.redrawn_RN, lambda boot_RD: np.stack([cosines(boot_RD, direction_D), _norms(boot_RD)])
    )
    null_R = resampled(resampling.swapped_RN, _norms)
    halves_RD = estimate(chosen, rejected, resampling.halves_RN)
    stability = Stability(
        bootstrap_cosine=(float(boot_cosine_R.mean()), *_interval(boot_cosine_R)),
        bootstrap_norm=_interval(boot_norm_R),
        split_half_cosine=float(np.mean(cosines(halves_RD[::2], halves_RD[1::2]))),
        null_norm=float(np.quantile(null_R, 0.95)),
        null_p=float((1 + (null_R >= norm).sum()) / (1 + len(null_R))),
        held_out=held_out_separation(estimate, chosen, rejected, resampling.folds_FN),
    )
    return LayerEvidence(norm, stability)


def cosines(vectors_RD: Floats, others_RD: Floats) -> Floats:
    """Cosine of every row with its other (or with a single direction); 0 where either is zero."""
    products_R, norms_R = (vectors_RD * others_RD).sum(axis=-1), _norms(vectors_RD) * _norms(others_RD)
    result: Floats = np.divide(products_R, norms_R, out=np.zeros_like(products_R), where=norms_R > 0)
    return result


def _norms(vectors_RD: Floats) -> Floats:
    norms_R: Floats = np.linalg.norm(vectors_RD, axis=-1)
    return norms_R


def _interval(values_R: Floats) -> tuple[float, float]:
    low, high = np.quantile(values_R, [0.025, 0.975])
    return float(low), float(high)


def as_columns(layers: Sequence[LayerEvidence]) -> dict[str, object]:
    """Evidence of all layers as JSON columns, one entry per layer; what was not measured is left out."""
    columns: dict[str, object] = {"norm": [layer.norm for layer in layers]}
    measured = [layer.stability for layer in layers if layer.stability is not None]
    if not measured:
        return columns
    for name in ("split_half_cosine", "null_norm", "null_p"):
        columns[name] = [getattr(each, name) for each in measured]
    columns["bootstrap_cosine"] = _named(("mean", "low", "high"), [each.bootstrap_cosine for each in measured])
    columns["bootstrap_norm"] = _named(("low", "high"), [each.bootstrap_norm for each in measured])
    columns["held_out_auroc"] = [each.held_out.auroc for each in measured]
    columns["held_out_cohens_d"] = [each.held_out.cohens_d for each in measured]
    columns["opposed_share"] = [each.held_out.opposed_share for each in measured]
    return columns


def _named(names: Sequence[str], rows: Sequence[tuple[float, ...]]) -> dict[str, list[float]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
