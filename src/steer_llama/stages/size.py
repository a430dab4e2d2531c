"""How much of a vector is added, and where: what a user says, or what the vector recommends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from steer_llama.errors import ConfigError
from steer_llama.vectors import SteeringVector


@dataclass(frozen=True)
class Size:
    """A strength or a coefficient, or neither.

    Raises:
        ConfigError: both, or one that is no finite number.
    """

    strength: float | None = None
    """‖coefficient·v‖ over the mean residual norm."""
    coefficient: float | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.strength is not None and self.coefficient is not None:
            raise ConfigError("--strength and --coefficient say the same thing in two ways; give one of them.")
        for flag, value in (("--strength", self.strength), ("--coefficient", self.coefficient)):
            if value is not None and not math.isfinite(value):
                raise ConfigError(f"{flag} {value}: expected a finite number, e.g. 0.2.")

    @property
    def given(self) -> bool:
        """Whether it says anything."""
        return self.strength is not None or self.coefficient is not None

    def not_zero(self) -> "Size":
        """The same, for what is written to stay.

        Raises:
            ConfigError: it is zero.
        """
        if self.strength == 0 or self.coefficient == 0:
            flag = "--strength" if self.strength == 0 else "--coefficient"
            raise ConfigError(f"{flag} 0: nothing would be added; expected a number that is not 0, e.g. 0.2.")
        return self

    def coefficient_at(self, vector: SteeringVector, layer: int) -> float:
        """What the direction of one layer is multiplied by.

        Raises:
            LayerError: the vector has no such layer.
            VectorError: a strength, and the residual's norm is not known or the direction is zero.
        """
        vector.direction_D(layer)
        if self.coefficient is not None:
            return self.coefficient
        assert self.strength is not None, "one of the two is given"
        return vector.coefficient(layer, self.strength)

    def __str__(self) -> str:
        return f"coefficient {self.coefficient:g}" if self.coefficient is not None else f"strength {self.strength:g}"


def or_recommended(vector: SteeringVector, layers: Sequence[int], size: Size) -> tuple[tuple[int, ...], Size]:
    """Where and how much, with the vector's recommendation in place of what is not said.

    Raises:
        ConfigError: something is not said, and the vector recommends nothing.
    """
    if not layers and vector.recommended_layer is not None:
        layers = (vector.recommended_layer,)
    if not size.given:
        size = Size(vector.recommended_strength)
    by_strength = vector.residual_norm_L is not None
    missing = [] if layers else ["--layer"]
    missing += [] if size.given else ["--strength" if by_strength else "--coefficient"]
    if missing:
        tried = "a strength of 0.1 to 0.4" if by_strength else "a coefficient of 1"
        raise ConfigError(
            f"the vector recommends nothing yet: give {' and '.join(missing)} (try a layer in the middle of the model "
            f"and {tried}), or find them with `steer-llama sweep` and `steer-llama report`."
        )
    return tuple(layers), size
