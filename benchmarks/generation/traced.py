"""nnsight: a traced ``generate`` that adds to a block's output at every step."""

from typing import Any

from nnsight import TransformersModel  # type: ignore[import-not-found]
from torch import Tensor
from turns.weights import load_weights

from generation.by_condition import by_condition
from generation.reading import Reader
from generation.work import Work, Write


def load(work: Work) -> Write:
    reader = Reader(work.folder)
    model: Any = TransformersModel(load_weights(work.folder), tokenizer=reader.tokenizer)

    def generate(inputs: dict[str, Tensor], layer: int | None, vector_D: Tensor | None, max_tokens: int) -> Tensor:
        how = {"max_new_tokens": max_tokens, "do_sample": False, "pad_token_id": reader.stop}
        if layer is None:
            plain_BT: Tensor = model.generate(**inputs, **how)
            return plain_BT
        with model.generate(**inputs, **how) as tracer:
            for _ in tracer.iter[:max_tokens]:
                model.model.layers[layer].output = model.model.layers[layer].output + vector_D
            out_BT: Tensor = tracer.result.save()
        return out_BT

    return by_condition(work, reader, generate)
