"""The steering vector: one direction per layer, with the evidence for it.

Shapes: L layers, D width.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from steer_llama.errors import LayerError, VectorError
from steer_llama.vectors import algebra, selection
from steer_llama.vectors.layer_ranges import layer_ranges
from steer_llama.vectors.origin import Origin

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A direction per layer: the source's mean minus the target's, not normalised."""

    directions_LD: Floats
    layers: tuple[int, ...]
    """Which 0-based block each row belongs to, at its output (``blocks.L.hook_resid_post``)."""
    residual_norm_L: Floats | None
    """Mean ‖residual‖ over the response tokens, per layer: the unit of `strength`. ``None`` in files of tools that do
    not measure it: then only coefficients have a meaning."""
    model: str
    """Empty where a file of another tool does not say, like all that follows."""
    model_fingerprint: str
    trait: str
    estimator: str
    positions: str
    dtype: str = ""
    """What the activations were computed in."""
    revision: str = ""
    """The hub's commit of the model."""
    model_type: str = ""
    """What transformers calls its architecture, e.g. ``llama``."""
    recommended_layer: int | None = None
    recommended_strength: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values: see docs/formats.md."""
    origin: Origin | None = field(default=None, repr=False)
    """What it was combined from. Not kept in files: what they keep is in the evidence, under ``combination``."""

    __array_ufunc__: ClassVar[None] = None  # so that numpy leaves `np.float32(2) * vector` to us
    __iter__: ClassVar[None] = None  # `vector[12]` is a layer, which Python would otherwise take for a sequence

    def __post_init__(self) -> None:
        """Refuse what cannot be a vector.

        Raises:
            VectorError: shapes that do not fit together, or values that are not finite.
            LayerError: a recommended layer that it has not.
        """
        n_layers = len(self.layers)
        if self.directions_LD.ndim != 2 or len(self.directions_LD) != n_layers or self.directions_LD.size == 0:
            raise VectorError(
                f"directions of shape {self.directions_LD.shape} for {n_layers} layers; expected (layers, width)."
            )
        if len(set(self.layers)) != n_layers or min(self.layers) < 0:
            raise VectorError(f"layers {list(self.layers)}: each must stand once and be 0 or more.")
        if not np.isfinite(self.directions_LD).all():
            raise VectorError("the vector holds NaN or infinity.")
        if self.residual_norm_L is not None:
            if self.residual_norm_L.shape != (n_layers,):
                raise VectorError(f"residual_norm has shape {self.residual_norm_L.shape}; expected ({n_layers},).")
            if not (np.isfinite(self.residual_norm_L).all() and (self.residual_norm_L > 0).all()):
                raise VectorError("residual_norm must be positive and finite at every layer.")
        if self.recommended_layer is not None:
            self._index(self.recommended_layer)
        if self.recommended_strength is not None and not np.isfinite(self.recommended_strength):
            raise VectorError(f"the recommended strength is {self.recommended_strength}; expected a number.")

    @property
    def recommended_sampling(self) -> dict[str, float]:
        """How answers were drawn when the recommendation was found; empty where there is none."""
        verdict = self.evidence.get("verdict")
        sampling = verdict.get("sampling") if isinstance(verdict, dict) else None
        known = ("temperature", "top_p", "repetition_penalty")
        return {key: sampling[key] for key in known if key in sampling} if isinstance(sampling, dict) else {}

    @property
    def recommended_way(self) -> dict[str, str]:
        """The ``mode`` and ``where`` that the recommendation was found with; empty where there is none."""
        verdict = self.evidence.get("verdict")
        if not isinstance(verdict, dict):
            return {}
        return {key: str(verdict[key]) for key in ("mode", "where") if key in verdict}

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self.directions_LD.shape[1])

    def residual_norm(self, layer: int) -> float:
        """Mean ‖residual‖ at one layer.

        Raises:
            LayerError: the vector has no such layer.
            VectorError: the file does not say.
        """
        index = self._index(layer)
        if self.residual_norm_L is None:
            raise VectorError(
                "the vector does not say how large the residual stream is, so a strength has no meaning. Give a "
                "--coefficient, or fit the vector with steer-llama."
            )
        return float(self.residual_norm_L[index])

    def direction_D(self, layer: int) -> Floats:
        """The direction of one layer.

        Raises:
            LayerError: the vector has none there.
        """
        row: Floats = self.directions_LD[self._index(layer)]
        return row

    def coefficient(self, layer: int, strength: float) -> float:
        """What the direction is multiplied by, so that ‖coefficient·v‖ = |strength| · mean residual norm.

        Raises:
            LayerError: the vector has no such layer.
            VectorError: its direction there is zero, or the residual's norm is not known.
        """
        norm = float(np.linalg.norm(self.direction_D(layer).astype(np.float64)))
        if norm == 0:
            raise VectorError(f"the direction of layer {layer} is zero; it cannot be given a strength.")
        return strength * self.residual_norm(layer) / norm

    def scaled_D(self, layer: int, strength: float) -> Floats:
        """The direction of one layer at a strength: what is added to the residual stream."""
        direction_D = self.direction_D(layer).astype(np.float64)
        scaled: Floats = (direction_D * self.coefficient(layer, strength)).astype(np.float32)
        return scaled

    def random_like_D(self, layer: int, strength: float, seed: int) -> Floats:
        """A random direction of the same norm as `scaled_D`: what the vector has to beat."""
        random_D = np.random.default_rng(seed).standard_normal(self.width)
        norm = abs(strength) * self.residual_norm(layer)
        scaled: Floats = (random_D * (norm / np.linalg.norm(random_D))).astype(np.float32)
        return scaled

    def check_fits(self, model: str, fingerprint: str, n_layers: int, width: int) -> None:
        """Refuse a model that the vector is not for.

        Raises:
            VectorError: another width, layers that the model has not, or other weights.
        """
        if self.width != width:
            raise VectorError(
                f"the vector is {self.width} wide (for {self.model or '?'}), but {model} is {width} wide."
            )
        if max(self.layers) >= n_layers:
            raise VectorError(f"the vector has a layer {max(self.layers)}, but {model} has layers 0 to {n_layers - 1}.")
        if self.model_fingerprint and self.model_fingerprint != fingerprint:
            raise VectorError(
                f"the vector was fitted on other weights ({self.model}) than {model}. Use the model that it was fitted "
                "on, or say --any-model if you mean it (a fine-tune of the same base, or another precision)."
            )

    def _index(self, layer: int) -> int:
        if layer not in self.layers:
            raise LayerError(f"the vector has no layer {layer}; it has {layer_ranges(self.layers)}.")
        return self.layers.index(layer)

    def __add__(self, other: "SteeringVector") -> "SteeringVector":
        """See `algebra.add`."""
        return algebra.add(self, other) if isinstance(other, SteeringVector) else NotImplemented

    def __sub__(self, other: "SteeringVector") -> "SteeringVector":
        """See `algebra.subtract`."""
        return algebra.subtract(self, other) if isinstance(other, SteeringVector) else NotImplemented

    def __mul__(self, factor: float) -> "SteeringVector":
        """See `algebra.scale`."""
        return algebra.scale(self, factor) if algebra.is_number(factor) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "SteeringVector":
        """See `algebra.divide`."""
        return algebra.divide(self, divisor) if algebra.is_number(divisor) else NotImplemented

    def __neg__(self) -> "SteeringVector":
        """See `algebra.negate`."""
        return algebra.negate(self)

    def __getitem__(self, layers: int | slice) -> "SteeringVector":
        """One layer, or those from the slice's begin up to its end: numbers of layers, not of rows."""
        return selection.at_layers(self, layers)
