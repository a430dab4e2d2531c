"""transformers as most people use it: ``output_hidden_states=True``, one conversation at a time.

The last entry of ``hidden_states`` is after the final norm, so its last layer is another vector; the table shows it.
"""

from typing import Any

import numpy.typing as npt
import torch

from peers.loading import load_model, means, one
from peers.work import Conversation, Extract, Found, Work, averaged


def load(work: Work) -> Extract:
    model = load_model(work)

    def mean_of(conversation: Conversation) -> npt.NDArray[Any]:
        hidden = model(one(conversation), output_hidden_states=True, use_cache=False).hidden_states
        return means(hidden[1:], conversation)

    def extract(some: Work) -> Found:
        with torch.inference_mode():
            return averaged(some, mean_of)

    return extract
