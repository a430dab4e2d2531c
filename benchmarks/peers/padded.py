"""transformers in padded batches, sorted by length so that little is padded."""

import numpy as np
import torch

from peers.loading import load_model, means, padded
from peers.work import Extract, Found, Work, batches, signed


def load(work: Work, rows: int) -> Extract:
    model = load_model(work)

    def extract(some: Work) -> Found:
        total_LD = np.zeros((some.n_layers, some.width))
        by_length = sorted(signed(some), key=lambda item: len(item[0].ids))
        with torch.inference_mode():
            for batch in batches(by_length, rows):
                inputs = padded([each for each, _ in batch])
                hidden = model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
                for row, (each, share) in enumerate(batch):
                    total_LD += share * means(hidden[1:], each, row).astype(np.float64)
                del hidden
        return Found(total_LD)

    return extract
