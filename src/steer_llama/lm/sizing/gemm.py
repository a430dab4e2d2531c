"""How fast this machine multiplies matrices."""

import time

import torch

_LARGEST = 4096
"""A side of the weight matrix; larger ones are not faster."""


def measured_tflops(
    dtype: str, rows: int, width: int, intermediate: int, *, device: str = "cpu", seconds: float = 1.0
) -> float:
    """TFLOP/s of the best of several products of ``rows`` tokens with an MLP's two matrix shapes.

    Args:
        dtype: of both sides.
        rows: tokens at once.
        width: of the residual stream.
        intermediate: of the MLP.
        device: where to multiply.
        seconds: how long to try (each product at least three times).
    """
    width, intermediate = min(width, _LARGEST), min(intermediate, _LARGEST)
    kind = getattr(torch, dtype)
    hidden_TD = torch.randn(rows, width, device=device, dtype=kind)
    inner_TF = torch.empty(rows, intermediate, device=device, dtype=kind)
    up_FD = torch.randn(intermediate, width, device=device, dtype=kind)
    down_DF = torch.randn(width, intermediate, device=device, dtype=kind)
    best = float("inf")
    began = time.perf_counter()
    rounds = 0
    while rounds < 3 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        torch.mm(hidden_TD, up_FD.T, out=inner_TF)
        torch.mm(inner_TF, down_DF.T, out=hidden_TD)
        if hidden_TD.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        hidden_TD.fill_(1.0)  # else the numbers overflow, and not-a-numbers may be slower
        rounds += 1
    return 4 * rows * width * intermediate / best / 1e12
