"""nnsight: a trace that saves the output of every block, one conversation at a time."""

from typing import Any

import nnsight  # type: ignore[import-not-found]
import numpy.typing as npt
import torch

from peers.loading import load_model, means, one
from peers.work import Conversation, Extract, Found, Work, averaged


def load(work: Work) -> Extract:
    model = nnsight.NNsight(load_model(work))

    def mean_of(conversation: Conversation) -> npt.NDArray[Any]:
        with model.trace(one(conversation)):
            saved = list().save()  # type: ignore[attr-defined]  # noqa: C408 - nnsight reads this source
            for layer in model.model.layers:
                saved.append(layer.output)
        return means(saved, conversation)

    def extract(some: Work) -> Found:
        with torch.inference_mode():
            return averaged(some, mean_of)

    return extract
