"""What the machine could do at best: the blocks' seven matrix products and nothing else, back to back.

Which products is asked of our engine: it reads the pairs once, and every product with a weight of a block is taken
down with its number of rows. Where it computes more tokens than there need be, the time is scaled down to the needed.

Shapes: R rows, I inputs, O outputs.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from peers import ours
from peers.loading import load_model
from peers.work import Extract, Found, Work

Product = Callable[[Tensor], Tensor]


def load(work: Work, how: Literal["linear", "prepacked"], dtype: ours.Dtype = "float32") -> Extract:
    read = ours.engine(work, dtype)
    # Weights of its own: what our engine makes of the ones it loads is its own affair.
    layers = load_model(work, getattr(torch, dtype)).model.layers
    blocks = [[each for each in block.modules() if isinstance(each, nn.Linear)] for block in layers]
    down = (blocks[0][-1].in_features, blocks[0][-1].out_features)

    def extract(some: Work) -> Found:
        with _Products() as seen:
            read(some, some.scratch / "limit.h5")
        # One product of a block has this shape, so its rows are the rows of the passes.
        rows = [n_rows for n_rows, *shape in seen.found if tuple(shape) == down]
        if not rows:
            raise SystemExit(f"limit: no product {down} among the engine's; it multiplies in a way that is not watched")
        products = [[_product(each, how, max(rows)) for each in block] for block in blocks]
        inputs = {
            (n_rows, each.in_features): torch.randn(n_rows, each.in_features, dtype=getattr(torch, dtype))
            for n_rows in {*rows}
            for each in blocks[0]
        }
        seconds = _timed(rows, products, inputs, blocks)
        share = some.n_needed * len(blocks) / sum(rows)
        weights = sum(each.weight.numel() for block in blocks for each in block)
        return Found(
            None,
            facts={
                "seconds": seconds * min(1.0, share),
                "passes": len(rows) // len(blocks),
                "rows": sum(rows) // len(blocks),
                "needed": some.n_needed,
                "gflops": 2e-9 * weights * sum(rows) / len(blocks) / seconds,
            },
        )

    return extract


def _timed(
    rows: list[int], products: list[list[Product]], inputs: dict[tuple[int, int], Tensor], blocks: list[list[nn.Linear]]
) -> float:
    """Seconds for all of them, once."""

    def multiply(n_rows: int, layer: int) -> None:
        for product, linear in zip(products[layer], blocks[layer], strict=True):
            product(inputs[n_rows, linear.in_features])

    with torch.inference_mode():
        for n_rows in {*rows}:  # oneDNN prepares itself at the first call of a shape
            multiply(n_rows, 0)
        begin = time.perf_counter()
        for number, n_rows in enumerate(rows):
            multiply(n_rows, number % len(blocks))
        return time.perf_counter() - begin


def _product(linear: nn.Linear, how: str, most_rows: int) -> Product:
    if how == "linear":
        return lambda inputs_RI: functional.linear(inputs_RI, linear.weight)
    onednn: Any = torch.ops.mkldnn
    packed = onednn._reorder_linear_weight(linear.weight.detach(), most_rows)

    def multiply(inputs_RI: Tensor) -> Tensor:
        outputs: Tensor = onednn._linear_pointwise(inputs_RI, packed, None, "none", [], "")
        return outputs

    return multiply


class _Products(TorchDispatchMode):  # type: ignore[misc]
    """Takes down rows, inputs and outputs of every matrix product with a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name in ("aten::linear", "aten::mm", "aten::addmm", "mkldnn::_linear_pointwise"):
            inputs = args[1] if name == "aten::addmm" else args[0]
            self.found.append((inputs.numel() // inputs.shape[-1], inputs.shape[-1], result.shape[-1]))
        return result
