"""steer-llama: rows of any steering together, in one call."""

from collections.abc import Sequence
from typing import Literal

import torch

from generation.work import Answer, Asked, Work, Write
from steer_llama.config import ModelSettings, Sampling
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.load import load_model
from steer_llama.lm.steering import Steering
from steer_llama.progress import SilentReporter


def load(work: Work, dtype: Literal["float32", "bfloat16"]) -> Write:
    model = load_model(ModelSettings(path=str(work.folder), device="cpu", dtype=dtype), SilentReporter())
    vectors_VD = torch.from_numpy(work.vectors_VD())

    def row_of(asked: Asked) -> Row:
        if asked.layer is None or asked.vector is None:
            return Row(asked.ids, 0)
        return Row(asked.ids, 0, Steering(asked.layer, vectors_VD[asked.vector]))

    def write(rows: Sequence[Asked], max_tokens: int) -> list[Answer]:
        sampling = Sampling(temperature=0, max_tokens=max_tokens)
        answers: dict[int, Answer] = {}
        for batch in generate(model, [row_of(row) for row in rows], sampling, work.batch_size):
            answers |= {place: Answer(one.text, one.tokens) for place, one in batch}
        return [answers[place] for place in range(len(rows))]

    return write
