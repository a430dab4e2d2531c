"""Steering by forward hooks, around any forward pass of the model.

Shapes: B batch, T tokens, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from steer_llama.errors import ConfigError, SteeringInactiveError
from steer_llama.lm.layers import residual_of, with_residual
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering.plan import Places, Plan
from steer_llama.lm.steering.spec import RowSteering


@contextmanager
def steering(model: LanguageModel, rows: Sequence[RowSteering], answers: Sequence[int] | None = None) -> Iterator[None]:
    """Steer every row of a batch in its own way while the context is open; the hooks are gone afterwards.

    Several passes inside go on from each other, as those of a generation with a cache do.

    Args:
        model: the weights.
        rows: one entry per row of the batch that will run; ``None`` leaves a row alone.
        answers: the column at which each row's answer begins, padding included; needed unless all tokens are
            steered alike.

    Raises:
        LayerError: a layer that the model does not have.
        VectorError: a vector that is not the model's width, or not finite.
        ConfigError: it matters where the answers begin, and ``answers`` is not given.
        SteeringInactiveError: the context ends and a hook that should have steered never ran, or another batch ran.
    """
    plan = Plan(model, rows)
    if plan.needs_places and (answers is None or len(answers) != len(rows)):
        raise ConfigError("say where each row's answer begins ('answers'): the steering depends on it.")
    columns = _Columns(answers or [0] * len(rows))

    def edit(layer: int, hidden_BTD: Tensor) -> Tensor:
        if len(hidden_BTD) != len(rows):
            raise SteeringInactiveError(f"{len(rows)} rows were to be steered, but a batch of {len(hidden_BTD)} ran.")
        places = columns.places(layer, hidden_BTD.shape[1], hidden_BTD.device)
        return plan.edit(layer, hidden_BTD.flatten(0, 1), places).view_as(hidden_BTD)

    with editing(model, plan.layers, edit):
        yield
    plan.check_passed()


class _Columns:
    """Counts the columns of the passes that follow each other."""

    def __init__(self, answers: Sequence[int]) -> None:
        self._answer_B1 = torch.tensor(answers)[:, None]
        self._before, self._length = 0, 0
        self._seen: set[int] = set()

    def places(self, layer: int, length: int, device: torch.device) -> Places:
        if layer in self._seen:  # a layer comes round again: the next pass
            self._before += self._length
            self._seen.clear()
        self._seen.add(layer)
        self._length = length
        row_BT = torch.arange(len(self._answer_B1))[:, None].expand(-1, length)
        after_BT = torch.arange(self._before, self._before + length)[None] - self._answer_B1
        return Places(row_BT.flatten(), after_BT.flatten()).on(device)


@contextmanager
def editing(model: LanguageModel, layers: Sequence[int], edit: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Replace the output (B, T, D) of each of ``layers`` by what ``edit`` makes of it; gone afterwards."""

    def hook_for(layer: int) -> Callable[[Any, Any, Any], Any]:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            return with_residual(output, edit(layer, residual_of(output)))

        return hook

    handles = [model.blocks[layer].register_forward_hook(hook_for(layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
