"""What is common to libraries that steer a whole batch alike: condition by condition, in batches.

Shapes: B batch, T tokens, D width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from generation.reading import Reader, padded
from generation.work import Answer, Asked, Work, Write, conditions

Generate = Callable[[dict[str, Tensor], int | None, Tensor | None, int], Tensor]
"""From the prompts, a layer, the vector (D,) that is added there, and the tokens to write, to prompts with answers."""


def by_condition(work: Work, reader: Reader, generate: Generate, batch_size: int | None = None) -> Write:
    """Writes rows condition by condition, in batches of the work's size unless another is given."""
    vectors_VD = torch.from_numpy(work.vectors_VD())

    def write(rows: Sequence[Asked], max_tokens: int) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for places in conditions(rows, batch_size or work.batch_size):
            inputs = padded([rows[place] for place in places], reader.stop)
            layer, vector = rows[places[0]].condition
            vector_D = None if vector is None else vectors_VD[vector]
            with torch.inference_mode():
                out_BT = generate(inputs, layer, vector_D, max_tokens)
            written = reader.read(out_BT[:, inputs["input_ids"].shape[1] :])
            answers |= dict(zip(places, written, strict=True))
        return [answers[place] for place in range(len(rows))]

    return write
