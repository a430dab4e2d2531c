"""How well a direction tells the arms apart on pairs that it was not estimated from.

Shapes: N pairs, D width, F folds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.vectors.estimators import Estimator

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Separation:
    """Of held-out answers, projected onto the direction of the other folds."""

    auroc: float
    """Probability that a chosen answer lies further along the direction than a rejected one (of any pair)."""
    cohens_d: float | None
    """Distance of the arms' means in pooled standard deviations; ``None`` where nothing varies."""
    opposed_share: float
    """Share of pairs whose own difference points away from the direction."""


def held_out_separation(
    estimate: Estimator, chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, folds_FN: Floats
) -> Separation:
    """Estimate on all folds but one and look at that one, in turn.

    Args:
        estimate: the estimator.
        chosen_ND: each pair's mean residual over the chosen answer.
        rejected_ND: the same over the rejected answer.
        folds_FN: weights of the pairs that are estimated from; 0 marks those that are looked at.
    """
    chosen, rejected = np.asarray(chosen_ND), np.asarray(rejected_ND)
    projected_2N = np.empty((2, len(chosen)))
    middles_FD = (folds_FN @ chosen + folds_FN @ rejected) / 2
    directions_FD = estimate(chosen, rejected, folds_FN)
    for direction_D, middle_D, weights_N in zip(directions_FD, middles_FD, folds_FN, strict=True):
        held_out = weights_N == 0
        unit_D = direction_D / (np.linalg.norm(direction_D) or 1)
        # From the middle of what was estimated from, so that the folds' projections can stand beside each other.
        projected_2N[0, held_out] = (chosen[held_out] - middle_D) @ unit_D
        projected_2N[1, held_out] = (rejected[held_out] - middle_D) @ unit_D
    return Separation(
        auroc=_auroc(*projected_2N),
        cohens_d=_cohens_d(*projected_2N),
        opposed_share=float((projected_2N[0] < projected_2N[1]).mean()),
    )


def _auroc(chosen_N: Floats, rejected_N: Floats) -> float:
    """Share of all (chosen, rejected) in which the chosen one lies further on; half of the ties (Mann–Whitney's U)."""
    sorted_N = np.sort(rejected_N)
    below_N, up_to_N = (np.searchsorted(sorted_N, chosen_N, side) for side in ("left", "right"))
    return float((below_N + up_to_N).mean() / (2 * len(sorted_N)))


def _cohens_d(chosen_N: Floats, rejected_N: Floats) -> float | None:
    spread = np.sqrt((chosen_N.var(ddof=1) + rejected_N.var(ddof=1)) / 2)
    return float((chosen_N.mean() - rejected_N.mean()) / spread) if spread > 0 else None
