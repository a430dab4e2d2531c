"""Linear layers in oneDNN's own order, for CPUs.

Shapes: D input width, O output width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_USUAL_ROWS = 1024
"""Rows that oneDNN is told to expect."""


class PackedMatrix:
    """Weight and bias of one or several linear layers side by side, in oneDNN's order."""

    def __init__(self, linears: Sequence[Any], norm_D: Tensor | None = None) -> None:
        """``norm_D``: what the input is multiplied by first."""
        dtype = linears[0].weight.dtype
        weight_OI = torch.cat([each.weight for each in linears])
        if norm_D is not None:
            weight_OI = (weight_OI.float() * norm_D.float()).to(dtype)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight_OI.contiguous(), _USUAL_ROWS)
        biases = [
            torch.zeros(each.out_features, dtype=dtype) if each.bias is None else each.bias.detach() for each in linears
        ]
        self._bias = None if all(each.bias is None for each in linears) else torch.cat(biases)

    def __call__(self, inputs: Tensor, activation: str = "none") -> Tensor:
        """The product, through an activation function that oneDNN knows."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._weight, self._bias, activation, [], "")
        return out

    def combined(self, inputs: Tensor, other: Tensor, how: str) -> Tensor:
        """The product, then and ``other`` added to it (``add``) or multiplied with it (``mul``)."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(inputs, other, self._weight, self._bias, how)
        return out
