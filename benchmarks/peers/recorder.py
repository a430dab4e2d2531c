"""steering-vectors: its own recorder (``record_activations``), which copies every block's output.

``train_steering_vector`` itself reads one token of each text; the recorder below it gives what a mean needs. As there,
the chosen answers of a batch go through the model together and then the rejected ones, in the file's order.
"""

import numpy as np
import torch
from steering_vectors import record_activations  # type: ignore[import-not-found]

from peers.loading import load_model, means, padded
from peers.work import Conversation, Extract, Floats, Found, Work, batches


def load(work: Work, rows: int) -> Extract:
    model = load_model(work)
    shape = work.n_layers, work.width

    def total(conversations: list[Conversation]) -> Floats:
        with record_activations(model) as recorded:
            model(**padded(conversations), use_cache=False)
        hidden = [recorded[layer][-1] for layer in sorted(recorded)]
        return sum((means(hidden, each, row) for row, each in enumerate(conversations)), np.zeros(shape))

    def extract(some: Work) -> Found:
        total_LD = np.zeros(shape)
        with torch.inference_mode():
            for batch in batches(some.pairs, rows):
                total_LD += total([chosen for chosen, _ in batch]) - total([rejected for _, rejected in batch])
        return Found(total_LD / len(some.pairs))

    return extract
