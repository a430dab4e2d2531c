"""Running only the blocks above a layer: what lies below does not depend on the vector.

Shapes: B batch, T tokens, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.machine_memory import total_bytes
from steer_llama.lm.score import pad_right
from steer_llama.lm.steering import Steering, steering
from steer_llama.progress import Reporter

_SHARE = 0.1
"""Of the machine's memory that residual streams may wait in."""
_CLOSE = 1e-2
"""How far the two ways may differ, relative to the largest value: bfloat16's rounding, and far from any other block."""


class Upper:
    """The model from the output of block ``layer`` on, for a fixed set of texts; differentiable in what is added.

    The residual stream at the layer is computed once for each text and kept. Where it does not fit into memory, or
    where the model's own code does not give the same result from it, the whole model runs each time.
    """

    def __init__(
        self, model: LanguageModel, layer: int, texts: Sequence[Sequence[int]], token_budget: int, reporter: Reporter
    ) -> None:
        """``texts`` are token ids; ``token_budget`` bounds the tokens of a forward pass."""
        self._model, self._layer, self._texts = model, layer, texts
        self._kept: list[Tensor] | None = None
        needed = sum(map(len, texts)) * model.width * model.hf.dtype.itemsize
        if needed > _SHARE * total_bytes():
            reporter.note(
                f"layer {layer}: {needed / 1e9:.1f} GB of residual streams are not kept; the whole model runs"
            )
        elif not _same_from_the_middle(model, layer, texts[0]):
            reporter.note(f"layer {layer}: {model.name} cannot be run from the middle; the whole model runs")
        else:
            self._kept = _residuals(model, layer, texts, token_budget)

    def run(self, rows: Sequence[int], added: Sequence[Tensor | None]) -> Tensor:
        """The final norm's output (B, T, D) of the texts ``rows``, padded on the right.

        Args:
            rows: which texts.
            added: what is added to each at every token, in residual units (D,); ``None`` for nothing.
        """
        ids_BT, attention_BT = pad_right([self._texts[row] for row in rows], self._model.pad_id)
        steered = [None if vector_D is None else Steering(self._layer, vector_D) for vector_D in added]
        if self._kept is None:
            return _run(self._model, ids_BT, attention_BT, steered)
        hidden_BTD = torch.nn.utils.rnn.pad_sequence([self._kept[row] for row in rows], batch_first=True)
        with passing_over(self._model, self._layer, hidden_BTD):
            return _run(self._model, ids_BT, attention_BT, steered)


@contextmanager
def passing_over(model: LanguageModel, layer: int, hidden_BTD: Tensor) -> Iterator[None]:
    """While the context is open, blocks up to ``layer`` compute nothing and the last of them gives ``hidden_BTD``.

    The model's own code does the rest (masks, positions, what it does after the blocks), and hooks run as ever.
    """
    blocks = [model.blocks[index] for index in range(layer + 1)]
    # accelerate puts a forward of its own on a block; what is there is put back.
    own = [vars(block).get("forward") for block in blocks]

    def handing_on(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden

    def giving(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_BTD.to(hidden.device)

    try:
        for block in blocks[:-1]:
            block.forward = handing_on
        blocks[-1].forward = giving
        yield
    finally:
        for block, forward in zip(blocks, own, strict=True):
            if forward is None:
                vars(block).pop("forward", None)
            else:
                block.forward = forward


def _run(model: LanguageModel, ids_BT: Tensor, attention_BT: Tensor, rows: Sequence[Steering | None]) -> Tensor:
    with steering(model, rows):
        return run_blocks(model, ids_BT.to(model.device), attention_BT.to(model.device))


def _residuals(model: LanguageModel, layer: int, texts: Sequence[Sequence[int]], token_budget: int) -> list[Tensor]:
    """The output (T, D) of block ``layer`` for every text."""
    kept: list[Tensor] = [torch.empty(0)] * len(texts)
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    while order:
        longest = len(texts[order[-1]])
        batch = [order.pop() for _ in range(min(len(order), max(1, token_budget // longest)))]
        ids_BT, attention_BT = pad_right([texts[index] for index in batch], model.pad_id)
        hidden_BTD = _residual(model, layer, ids_BT, attention_BT)
        for index, hidden_TD in zip(batch, hidden_BTD, strict=True):
            kept[index] = hidden_TD[: len(texts[index])].cpu().clone()
    return kept


def _residual(model: LanguageModel, layer: int, ids_BT: Tensor, attention_BT: Tensor) -> Tensor:
    found: list[Tensor] = []
    keep: Callable[[int, Tensor], None] = lambda _layer, hidden_BTD: found.append(hidden_BTD)  # noqa: E731
    with torch.no_grad(), reading(model, keep, [layer]):
        run_blocks(model, ids_BT.to(model.device), attention_BT.to(model.device))
    return found[0]


def _same_from_the_middle(model: LanguageModel, layer: int, ids: Sequence[int]) -> bool:
    """Whether the blocks above give with the kept residual stream what they give in the whole model, steered."""
    ids_BT, attention_BT = pad_right([ids], model.pad_id)
    hidden_BTD = _residual(model, layer, ids_BT, attention_BT)
    # As large as the residual stream, so that the steering shows.
    generator = torch.Generator().manual_seed(0)
    added_D = torch.randn(model.width, generator=generator) * float(hidden_BTD.float().square().mean().sqrt())
    row = [Steering(layer, added_D)]
    with torch.no_grad():
        whole_BTD = _run(model, ids_BT, attention_BT, row)
        try:
            with passing_over(model, layer, hidden_BTD):
                upper_BTD = _run(model, ids_BT, attention_BT, row)
        except (RuntimeError, TypeError, ValueError, AttributeError, LookupError):
            return False  # code that wants more of a block than its residual stream
    return bool((whole_BTD - upper_BTD).abs().max() <= _CLOSE * whole_BTD.abs().max())
