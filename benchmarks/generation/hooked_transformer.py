"""HookedTransformer 2.18: its own ``generate``, with its KV cache, in batches padded on the left."""

from typing import Any

from torch import Tensor
from turns.hooked import hooked

from generation.by_condition import by_condition
from generation.reading import Reader
from generation.work import Work, Write


def load(work: Work) -> Write:
    reader, model = Reader(work.folder), hooked(work.folder, work.longest)
    # It asks its tokenizer what is padding.
    model.tokenizer = reader.tokenizer

    def generate(inputs: dict[str, Tensor], layer: int | None, vector_D: Tensor | None, max_tokens: int) -> Tensor:
        with model.hooks(fwd_hooks=[] if layer is None else adding(layer, vector_D)):
            out_BT: Tensor = model.generate(
                inputs["input_ids"],
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=reader.stop,
                verbose=False,
            )
        return out_BT

    return by_condition(work, reader, generate)


def adding(layer: int, vector_D: Tensor | None) -> list[tuple[str, Any]]:
    """The hook that adds ``vector_D`` at the output of block ``layer``."""
    return [(f"blocks.{layer}.hook_resid_post", lambda hidden_BTD, hook: hidden_BTD + vector_D)]  # noqa: ARG005
