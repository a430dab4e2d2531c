"""From a condition of the sweep to what is done to the residual stream.

Shapes: D width.
"""

import torch

from steer_llama.lm.steering import Steering
from steer_llama.records import Spot
from steer_llama.stages.steers import SPANS
from steer_llama.vectors import SteeringVector


def steering_at(spot: Spot, vector: SteeringVector, direction: int | None = None) -> Steering:
    """What a condition does.

    ``clamp`` keeps the projection at the strength or above it (at or below it, where the strength is negative).

    Args:
        spot: the condition.
        vector: what it steers with.
        direction: the seed of a random direction of the same norm, which then stands for the vector's.

    Raises:
        LayerError: the vector has no such layer.
        VectorError: it does not say how large the residual stream is.
    """
    size = abs(spot.strength) if spot.mode == "clamp" else spot.strength
    added_D = (
        vector.scaled_D(spot.layer, size) if direction is None else vector.random_like_D(spot.layer, size, direction)
    )
    limit = spot.strength * vector.residual_norm(spot.layer) if spot.mode == "clamp" else None
    return Steering(
        spot.layer,
        torch.from_numpy(added_D),
        mode=spot.mode,  # type: ignore[arg-type]  # the settings know no others
        span=SPANS[spot.where],
        low=limit if spot.strength > 0 else None,
        high=limit if spot.strength < 0 else None,
    )
