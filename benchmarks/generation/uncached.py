"""The seed's loop: one prompt at a time, without a KV cache, the whole text computed anew for every token.

Shapes: T tokens, D width, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from generation.reading import Reader
from generation.work import Answer, Asked, Work, Write

Forward = Callable[[Tensor, int | None, Tensor | None], Tensor]
"""From one text's tokens (1, T), a layer and the vector (D,) that is added there, to the logits (1, T, V)."""


def uncached(work: Work, reader: Reader, forward: Forward) -> Write:
    vectors_VD = torch.from_numpy(work.vectors_VD())

    def write_one(row: Asked, max_tokens: int) -> Answer:
        ids = list(row.ids)
        vector_D = None if row.vector is None else vectors_VD[row.vector]
        for _ in range(max_tokens):
            logits_1TV = forward(torch.tensor([ids]), row.layer, vector_D)
            ids.append(int(logits_1TV[0, -1].argmax()))
            if ids[-1] == reader.stop:
                break
        return reader.read(torch.tensor([ids[len(row.ids) :]]))[0]

    def write(rows: Sequence[Asked], max_tokens: int) -> list[Answer]:
        with torch.inference_mode():
            return [write_one(row, max_tokens) for row in rows]

    return write
