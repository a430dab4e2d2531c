"""What each mode does to tokens of the residual stream: pure functions.

Shapes: R tokens, D width. ``scale_R1`` is how much of the effect a token gets (0–1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from steer_llama.lm.steering.spec import Mode


@dataclass(frozen=True)
class Given:
    """What the tokens' steering says, token by token."""

    vector_RD: Tensor
    """To be added, or (for the modes that project) of length 1."""
    scale_R1: Tensor
    low_R1: Tensor
    high_R1: Tensor


def add(hidden_RD: Tensor, given: Given) -> Tensor:
    """The sum h + v."""
    return hidden_RD + given.scale_R1 * given.vector_RD


def keep_norm(hidden_RD: Tensor, given: Given) -> Tensor:
    """The sum h + v, with the norm of h: the direction changes, and what the next norm layer sees does not grow."""
    moved_RD = add(hidden_RD, given)
    norm_R1 = torch.linalg.vector_norm(hidden_RD, dim=-1, keepdim=True)
    # A sum of zero has no direction that could be brought to a norm.
    return moved_RD * (norm_R1 / torch.linalg.vector_norm(moved_RD, dim=-1, keepdim=True).clamp(min=1e-30))


def project_out(hidden_RD: Tensor, given: Given) -> Tensor:
    """The residual without its part along u: h − (h·u) u."""
    return hidden_RD - given.scale_R1 * _projection(hidden_RD, given) * given.vector_RD


def clamp(hidden_RD: Tensor, given: Given) -> Tensor:
    """The residual with its projection onto u limited to ``low`` … ``high``."""
    found_R1 = _projection(hidden_RD, given)
    wanted_R1 = torch.minimum(torch.maximum(found_R1, given.low_R1), given.high_R1)
    return hidden_RD + given.scale_R1 * (wanted_R1 - found_R1) * given.vector_RD


def _projection(hidden_RD: Tensor, given: Given) -> Tensor:
    return (hidden_RD * given.vector_RD).sum(dim=-1, keepdim=True)


EFFECTS: Mapping[Mode, Callable[[Tensor, Given], Tensor]] = MappingProxyType(
    {"add": add, "keep_norm": keep_norm, "project_out": project_out, "clamp": clamp}
)
"""Every mode's function."""
