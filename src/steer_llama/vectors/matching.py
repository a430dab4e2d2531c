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
from steer_llama.vectors.estimators.differences import in_their_span
from steer_llama.vectors.regression import Regression

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
    _solved: dict[bytes, list[Regression]] = field(default_factory=dict)

    def matched(self, estimate: Estimator, *, linear: bool, of_differences: bool = False) -> Estimator:
        """The estimator on pairs whose arms are matched.

        A negative weight swaps a pair's arms, but not its confounds: what is swapped is what the confounds leave.

        Args:
            estimate: what runs on them.
            linear: it is linear in the weights, so that new weights do what new activations would.
            of_differences: it sees the arms' differences alone, so that it can run in the space that these span.
        """

        def estimate_matched(
            chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, weights_RN: npt.ArrayLike | None = None, /
        ) -> Floats:
            chosen, rejected = np.asarray(chosen_ND), np.asarray(rejected_ND)
            weights = np.full((1, len(chosen)), 1 / len(chosen)) if weights_RN is None else np.asarray(weights_RN)
            rows = self._solve(weights)
            if linear:
                return estimate(chosen, rejected, np.stack([row.weights_N for row in rows]))
            difference_ND = chosen.astype(np.float64) - rejected
            if of_differences:
                coordinates_NF, basis_FD = in_their_span(difference_ND)
                return _each(estimate, coordinates_NF, np.zeros_like(coordinates_NF), rows) @ basis_FD
            middle_ND = chosen - difference_ND / 2
            return _each(estimate, difference_ND, middle_ND, rows, self._middles_NK)

        return estimate_matched

    @property
    def effective_pairs(self) -> float:
        """How many equally weighted pairs the new weights are worth (Kish 1965), as to noise."""
        n_pairs = len(self.confounds.chosen_NK)
        (row,) = self._solve(np.full((1, n_pairs), 1 / n_pairs))
        return float(1 / (row.weights_N**2).sum())

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

    @property
    def _middles_NK(self) -> Floats:
        """Where each pair's answers lie in the confounds, from the middle of all."""
        middles_NK = (self.confounds.chosen_NK + self.confounds.rejected_NK) / 2
        centred_NK: Floats = middles_NK - middles_NK.mean(axis=0)
        return centred_NK

    def _solve(self, weights_RN: Floats) -> list[Regression]:
        key = weights_RN.tobytes()
        if key not in self._solved:
            self._solved[key] = [Regression.of(row_N, self.confounds.differences_NK) for row_N in weights_RN]
        return self._solved[key]


def _each(
    estimate: Estimator,
    difference_ND: Floats,
    middle_ND: Floats,
    rows: list[Regression],
    middles_NK: Floats | None = None,
) -> Floats:
    """The estimate of every row, on its own matched arms; pairs of no weight are left out."""
    directions = []
    for row in rows:
        half_ND = row.matched(difference_ND) / 2
        middle = middle_ND if middles_NK is None else middle_ND - middles_NK @ (row.slopes_KN @ difference_ND)
        used = row.signed_N != 0
        arms = (middle + half_ND)[used], (middle - half_ND)[used]
        directions.append(estimate(*arms, row.signed_N[None, used])[0])
    return np.stack(directions)
