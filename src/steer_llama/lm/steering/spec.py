"""What is done to the residual stream of one conversation: where, at which tokens, and how.

Shapes: D width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from steer_llama.errors import ConfigError, VectorError
from steer_llama.lm.layers import check_layers

Mode = Literal["add", "keep_norm", "project_out", "clamp"]


@dataclass(frozen=True)
class Span:
    """Tokens by their distance from the answer's first one, which is 0; the prompt's are below zero."""

    start: int | None = None
    """The first one; ``None``: the conversation's."""
    stop: int | None = None
    """One past the last; ``None``: no end."""


ALL = Span()
"""Every token, as llama.cpp's control vectors, repeng and a bias baked into the weights have it."""
PROMPT = Span(stop=0)
"""Up to where the answer begins: what it is steered by stays in the keys and values."""
RESPONSE = Span(start=0)
"""The answer's own tokens, which is where the default vector was read. Its first token comes from the prompt's last
one, so it is not steered."""
DIVERGENCE = Span(start=-1)
"""From where a steered and an unsteered answer can first differ: the prompt's last token, which gives the first one."""


@dataclass(frozen=True, eq=False)
class Gate:
    """Steers a token only where its residual's projection onto a condition passes a threshold.

    Lee et al. (2409.05907) steer under a condition too; theirs is a cosine, decided once for the whole prompt.
    """

    vector_D: Tensor
    """The condition; its length does not matter."""
    threshold: float
    """Of the projection onto the unit vector, in the residual stream's own unit."""
    above: bool = True
    """Whether the projection has to be at least the threshold, or below it."""
    layer: int | None = None
    """Whose output is projected, before anything is done to it; ``None``: the steered one. Never a deeper one."""


@dataclass(frozen=True, eq=False)
class Steering:
    """One intervention at the output of block ``layer``.

    With h the residual and u the vector's unit vector, the modes are: ``add`` h + v; ``keep_norm`` (h + v) brought
    back to the norm of h; ``project_out`` h − (h·u) u (Arditi et al., 2406.11717); ``clamp`` h + (c − h·u) u with c
    the projection limited to ``low`` … ``high`` (activation capping, 2601.10387).
    """

    layer: int
    vector_D: Tensor
    """``add`` and ``keep_norm``: already multiplied by its coefficient. Else only its direction counts."""
    mode: Mode = "add"
    span: Span = ALL
    low: float | None = None
    """``clamp``: the least projection, in the residual stream's own unit."""
    high: float | None = None
    """``clamp``: the largest."""
    gate: Gate | None = None
    half_life: float | None = None
    """Tokens of the answer after which the effect is halved; ``None``: it stays."""

    @property
    def plain(self) -> bool:
        """Whether it adds the same to every token."""
        return self.mode == "add" and self.span == ALL and self.gate is None and self.half_life is None

    @property
    def leaves_prompt_alone(self) -> bool:
        """Whether the prompt's keys and values are those of an unsteered one."""
        return self.span.start is not None and self.span.start >= 0

    @property
    def gate_layer(self) -> int | None:
        """Where the gate reads; ``None`` without a gate."""
        if self.gate is None:
            return None
        return self.layer if self.gate.layer is None else self.gate.layer


RowSteering = Steering | Sequence[Steering] | None
"""All that is done to one row of a batch, in order."""


def interventions(row: RowSteering) -> tuple[Steering, ...]:
    """A row's interventions, in order."""
    if row is None:
        return ()
    return (row,) if isinstance(row, Steering) else tuple(row)


def check(steering: Steering, n_layers: int, width: int, name: str) -> None:
    """Refuse what the model cannot be steered by.

    Raises:
        LayerError: a layer that the model does not have.
        VectorError: a vector that is not the model's width, not finite, or without a direction where one is needed.
        ConfigError: bounds, a gate or a half-life without sense.
    """
    check_layers([steering.layer], n_layers, name)
    _check_vector(steering.vector_D, steering.layer, width, name)
    if steering.mode in ("project_out", "clamp"):
        _check_direction(steering.vector_D, steering.layer)
    if steering.mode == "clamp":
        _check_bounds(steering.low, steering.high)
    elif steering.low is not None or steering.high is not None:
        raise ConfigError(f"bounds belong to the mode clamp, but the mode is {steering.mode}.")
    if steering.half_life is not None and not (math.isfinite(steering.half_life) and steering.half_life > 0):
        raise ConfigError(f"half-life {steering.half_life}: expected a number of tokens above 0.")
    if steering.gate is not None and (at := steering.gate_layer) is not None:
        check_layers([at], n_layers, name)
        if at > steering.layer:
            raise ConfigError(f"a gate at layer {at} cannot decide for layer {steering.layer}, which comes before it.")
        _check_vector(steering.gate.vector_D, at, width, name)
        _check_direction(steering.gate.vector_D, at)
        if not math.isfinite(steering.gate.threshold):
            raise ConfigError(f"a gate's threshold is {steering.gate.threshold}; expected a finite number.")


def _check_bounds(low: float | None, high: float | None) -> None:
    bounds = [bound for bound in (low, high) if bound is not None]
    if not bounds or any(math.isnan(bound) for bound in bounds) or (len(bounds) == 2 and bounds[0] > bounds[1]):
        raise ConfigError(f"clamp from {low} to {high}: expected at least one bound, and the lower one first.")


def _check_vector(vector_D: Tensor, layer: int, width: int, name: str) -> None:
    if vector_D.shape != (width,):
        raise VectorError(
            f"the vector has shape {tuple(vector_D.shape)}, but {name} is {width} wide. "
            "Use a vector that was fitted on this model."
        )
    if not bool(torch.isfinite(vector_D).all()):
        raise VectorError(f"the vector of layer {layer} holds NaN or infinity.")


def _check_direction(vector_D: Tensor, layer: int) -> None:
    if not bool(vector_D.any()):
        raise VectorError(f"the vector of layer {layer} is zero, so there is nothing to project onto.")
