"""transformers' ``generate``: plain, or with forward hooks that add to every row what is its own.

This is what the others' answers are compared with.

Shapes: B batch, D width.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from turns.weights import load_weights

from generation.reading import Reader, padded
from generation.work import Answer, Asked, Work, Write, batches


def load(work: Work) -> Write:
    model = load_weights(work.folder)
    reader = Reader(work.folder)
    vectors_VD = torch.from_numpy(work.vectors_VD())

    def write_batch(rows: Sequence[Asked], max_tokens: int) -> list[Answer]:
        inputs = padded(rows, reader.stop)
        with ExitStack() as hooks:
            for layer in sorted({row.layer for row in rows if row.layer is not None}):
                added_B1D = torch.zeros(len(rows), 1, vectors_VD.shape[1])
                for place, row in enumerate(rows):
                    if row.layer == layer:
                        added_B1D[place, 0] = vectors_VD[row.vector]
                handle = model.model.layers[layer].register_forward_hook(adding(added_B1D))
                hooks.callback(handle.remove)
            out_BT = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, pad_token_id=reader.stop)
        return reader.read(out_BT[:, inputs["input_ids"].shape[1] :])

    def write(rows: Sequence[Asked], max_tokens: int) -> list[Answer]:
        with torch.inference_mode():
            pieces = batches(range(len(rows)), work.batch_size)
            return [one for piece in pieces for one in write_batch([rows[place] for place in piece], max_tokens)]

    return write


def adding(added_B1D: Tensor) -> Any:
    """The hook that adds it to what a block gives; a vector (D,) does too."""
    return lambda _block, _inputs, output_BTD: output_BTD + added_B1D
