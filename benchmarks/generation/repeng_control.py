"""repeng: a ``ControlModel`` with control at one layer, and transformers' ``generate``."""

from typing import Any

import numpy as np
from torch import Tensor
from turns.weights import load_weights

from generation.by_condition import by_condition
from generation.reading import Reader
from generation.work import Work, Write

# repeng 0.4 names a type that numpy 2 has dropped.
np.float_ = np.float64  # type: ignore[attr-defined]
from repeng import ControlModel, ControlVector  # type: ignore[import-not-found]  # noqa: E402


def load(work: Work) -> Write:
    reader = Reader(work.folder)
    layers = {row.layer for rows in work.sets.values() for row in rows if row.layer is not None}
    model: Any = ControlModel(load_weights(work.folder), sorted(layers))
    zero_D = np.zeros_like(work.vectors_VD()[0])

    def generate(inputs: dict[str, Tensor], layer: int | None, vector_D: Tensor | None, max_tokens: int) -> Tensor:
        if layer is None or vector_D is None:
            model.reset()
        else:
            directions = dict.fromkeys(layers, zero_D) | {layer: vector_D.numpy()}
            model.set_control(ControlVector(model_type="llama", directions=directions))
        out_BT: Tensor = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, pad_token_id=reader.stop)
        return out_BT

    return by_condition(work, reader, generate)
