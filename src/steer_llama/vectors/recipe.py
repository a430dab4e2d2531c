"""An estimator with all that is done to it, the same for every layer, and what each of these things costs.

Shapes: N pairs, D width, K other vectors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from steer_llama.errors import VectorError
from steer_llama.vectors.estimators import ESTIMATORS, LINEAR, OF_DIFFERENCES, Estimator
from steer_llama.vectors.evidence import cosines
from steer_llama.vectors.matching import Matching
from steer_llama.vectors.removal import orthogonal_to, without_shared_mean
from steer_llama.vectors.resampling import Resampling
from steer_llama.vectors.separation import held_out_separation
from steer_llama.vectors.vector import SteeringVector


@dataclass(frozen=True)
class Recipe:
    """How the direction of every layer is found."""

    estimator: str
    """A name in `ESTIMATORS`."""
    matching: Matching | None = None
    """Confounds that the arms are matched on."""
    project_out_mean: bool = False
    """Take out what both arms share."""
    others: Mapping[str, SteeringVector] = field(default_factory=dict)
    """Vectors that the new one shall be orthogonal to, by name."""

    def at(self, layer: int) -> Estimator:
        """The whole of it at one layer."""
        estimate = self._matched()
        if self.project_out_mean:
            estimate = without_shared_mean(estimate)
        return orthogonal_to(estimate, self._others_KD(layer)) if self.others else estimate

    def costs(
        self, layer: int, chosen_ND: npt.ArrayLike, rejected_ND: npt.ArrayLike, resampling: Resampling | None
    ) -> dict[str, float]:
        """What matching and taking out did to the direction of one layer, as flat columns."""
        found: dict[str, float] = {}
        direction_D = self.at(layer)(chosen_ND, rejected_ND)[0]
        if self.matching is not None:
            matched_D, plain_D = (
                estimate(chosen_ND, rejected_ND)[0] for estimate in (self._matched(), ESTIMATORS[self.estimator])
            )
            found["explained"] = self.matching.explained(chosen_ND, rejected_ND)
            found["cosine_with_unmatched"] = float(cosines(matched_D, plain_D))
        if self.project_out_mean or self.others:
            whole_D = self._matched()(chosen_ND, rejected_ND)[0]
            found["norm_kept"] = float(np.linalg.norm(direction_D) / (np.linalg.norm(whole_D) or 1))
            for name, other_D in zip(self.others, self._others_KD(layer) if self.others else (), strict=True):
                found[f"cosine:{name}"] = float(cosines(whole_D, other_D.astype(np.float64)))
            if resampling is not None:
                before = held_out_separation(self._matched(), chosen_ND, rejected_ND, resampling.folds_FN)
                found["held_out_auroc_before"] = before.auroc
        return found

    def check_fits(self, model: str, fingerprint: str, layers: tuple[int, ...], width: int) -> None:
        """Refuse other vectors that are not of this model.

        Raises:
            VectorError: another width, other weights, or a layer that one lacks.
        """
        for name, other in self.others.items():
            if other.width != width:
                raise VectorError(f"{name}: is {other.width} wide, but the activations are {width} wide.")
            if other.model_fingerprint and fingerprint and other.model_fingerprint != fingerprint:
                raise VectorError(
                    f"{name}: was fitted on other weights ({other.model}) than the activations ({model})."
                )
            if missing := sorted(set(layers) - set(other.layers)):
                raise VectorError(f"{name}: has no layer {missing[0]}, which the activations have.")

    def _matched(self) -> Estimator:
        estimate = ESTIMATORS[self.estimator]
        if self.matching is None:
            return estimate
        return self.matching.matched(
            estimate, linear=self.estimator in LINEAR, of_differences=self.estimator in OF_DIFFERENCES
        )

    def _others_KD(self, layer: int) -> npt.NDArray[np.float32]:
        return np.stack([other.direction_D(layer) for other in self.others.values()])
