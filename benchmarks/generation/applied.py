"""steering-vectors: ``SteeringVector.apply``, and transformers' ``generate``."""

from contextlib import nullcontext

from steering_vectors import SteeringVector  # type: ignore[import-not-found]
from torch import Tensor
from turns.weights import load_weights

from generation.by_condition import by_condition
from generation.reading import Reader
from generation.work import Work, Write


def load(work: Work, rows: int | None = None) -> Write:
    """With batches of ``rows``; default: the work's."""
    reader, model = Reader(work.folder), load_weights(work.folder)

    def generate(inputs: dict[str, Tensor], layer: int | None, vector_D: Tensor | None, max_tokens: int) -> Tensor:
        steered = nullcontext() if layer is None else SteeringVector({layer: vector_D}).apply(model)
        with steered:
            out_BT: Tensor = model.generate(
                **inputs, max_new_tokens=max_tokens, do_sample=False, pad_token_id=reader.stop
            )
        return out_BT

    return by_condition(work, reader, generate, rows)
