"""Matching the arms: what would the difference be if confounds were alike in both answers of every pair?

The pairs' differences are regressed on their differences in the confounds, and the intercept is kept (analysis of
covariance with an effect of its own for every pair). For a linear estimator that is another set of weights for the
pairs, so the price is visible: how many pairs the new weights are worth.

Shapes: N pairs, D width, K confounds, R rows of weights.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from steer_llama.errors import ConfigError
from steer_llama.vectors.estimators import Estimator

Floats = npt.NDArray[np.float64]

_PAIRS_PER_CONFOUND = 3
_NEVER_VARIES = 1e-9


@dataclass(frozen=True, eq=False)
class Confounds:
    """What should not make a difference, measured on every answer."""

    names: tuple[str, ...]
    chosen_NK: Floats
    rejected_NK: Floats

    @property
    def differences_NK(self) -> Floats:
        """Chosen minus rejected."""
        return self.chosen_NK - self.rejected_NK

    def check(self) -> "Confounds":
        """Leave out what is alike in both answers of every pair, and refuse what cannot be told from the trait.

        Raises:
            ConfigError: too few pairs, or a confound that differs by the same amount in every pair.
        """
        differences_NK = self.differences_NK
        spread_K, mean_K = differences_NK.std(axis=0), np.abs(differences_NK.mean(axis=0))
        scale_K = np.maximum(np.abs(self.chosen_NK).max(axis=0), 1e-300)
        fixed_K = spread_K <= _NEVER_VARIES * scale_K
        for name, fixed, mean, scale in zip(self.names, fixed_K, mean_K, scale_K, strict=True):
            if fixed and mean > _NEVER_VARIES * scale:
                raise ConfigError(
                    f"--match: {name} differs by the same amount ({mean:.3g}) in every pair, so it cannot be told from "
                    "the trait. Leave it out, or extract pairs in which it varies."
                )
        kept = np.flatnonzero(~fixed_K)
        needed = _PAIRS_PER_CONFOUND * (len(kept) + 1)
        if len(kept) and len(differences_NK) < needed:
            raise ConfigError(
                f"--match: {len(differences_NK)} pairs cannot settle {len(kept)} confounds "
                f"({', '.join(self.names[k] for k in kept)}); at least {needed} are needed. Match fewer, or extract "
                "more pairs."
            )
        return Confounds(tuple(self.names[k] for k in kept), self.chosen_NK[:, kept], self.rejected_NK[:, kept])


@dataclass(frozen=True, eq=False)
class Matching:
    """Applies confounds that were checked. The same rows of weights are solved once, for all layers."""

    confounds: Confounds
    _solved: dict[bytes, tuple[Floats, Floats]] = field(default_factory=dict)

    def matched(self, estimate: Estimator, *, linear: bool) -> Estimator:
        """The estimator on pairs whose arms are matched.

        Args:
            estimate: what runs on them.
            linear: it is linear in the weights, so that new weights do what new activations would.
        """

        def estimate_matched(
            chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None, /
        ) -> Floats:
            chosen, rejected = np.asarray(chosen_ND), np.asarray(rejected_ND)
            weights = np.full((1, len(chosen)), 1 / len(chosen)) if weights_RN is None else np.asarray(weights_RN)
            effective_RN, slopes_RKN = self._solve(weights)
            if linear:
                return estimate(chosen, rejected, effective_RN)
            rows = []
            centre_K = (self.confounds.chosen_NK.mean(axis=0) + self.confounds.rejected_NK.mean(axis=0)) / 2
            difference_ND = chosen.astype(np.float64) - rejected
            for weights_N, slopes_KN in zip(weights, slopes_RKN, strict=True):
                slopes_KD = slopes_KN @ difference_ND
                matched_chosen_ND = chosen - (self.confounds.chosen_NK - centre_K) @ slopes_KD
                matched_rejected_ND = rejected - (self.confounds.rejected_NK - centre_K) @ slopes_KD
                rows.append(estimate(matched_chosen_ND, matched_rejected_ND, weights_N[None])[0])
            return np.stack(rows)

        return estimate_matched

    @property
    def effective_pairs(self) -> float:
        """How many equally weighted pairs the new weights are worth (Kish 1965), as to noise."""
        n_pairs = len(self.confounds.chosen_NK)
        effective_RN, _ = self._solve(np.full((1, n_pairs), 1 / n_pairs))
        return float(1 / (effective_RN[0] ** 2).sum())

    def explained(self, chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike) -> float:
        """Share of the differences' variance that the confounds explain (R², over all dimensions)."""
        difference_ND = np.asarray(chosen_ND, np.float64) - np.asarray(rejected_ND)
        centred_ND = difference_ND - difference_ND.mean(axis=0)
        total = float((centred_ND**2).sum())
        if total == 0:
            return 0.0
        design_NK = self.confounds.differences_NK - self.confounds.differences_NK.mean(axis=0)
        fitted_ND = design_NK @ np.linalg.lstsq(design_NK, centred_ND, rcond=None)[0]
        return float((fitted_ND**2).sum()) / total

    def _solve(self, weights_RN: Floats) -> tuple[Floats, Floats]:
        """Weights of the intercept (R, N), and what makes slopes of the differences (R, K, N)."""
        key = weights_RN.tobytes()
        if key not in self._solved:
            solved = [_least_squares(weights_N, self.confounds.differences_NK) for weights_N in weights_RN]
            self._solved[key] = (np.stack([each[0] for each in solved]), np.stack([each[1:] for each in solved]))
        return self._solved[key]


def _least_squares(weights_N: Floats, differences_NK: Floats) -> Floats:
    """What gives the coefficients (1 + K, N) of a weighted regression of the pairs' differences.

    A swapped pair (negative weight) enters with both of its sides turned round.
    """
    root_N, sign_N = np.sqrt(np.abs(weights_N)), np.where(weights_N < 0, -1.0, 1.0)
    # The intercept stands for the arms, so swapping a pair turns its sign and not that of its confounds' difference.
    design_N1K = np.concatenate([sign_N[:, None], differences_NK], axis=1)
    scale_1K = np.maximum(np.abs(design_N1K).max(axis=0), 1e-300)
    solution = np.linalg.pinv(root_N[:, None] * design_N1K / scale_1K, rcond=1e-10)
    coefficients: Floats = solution * root_N / scale_1K[:, None]
    return coefficients
