"""repeng: ``read_representations``, 32 texts at a time. It reads the last token and gives principal components, so
there is no mean difference to compare.
"""

from typing import Any

import numpy as np
import torch
from transformers import BatchEncoding

from peers.loading import load_model, padded
from peers.work import Extract, Found, Work

# repeng 0.4 names a type that numpy 2 has dropped.
np.float_ = np.float64  # type: ignore[attr-defined]
from repeng import extract as repeng  # type: ignore[import-not-found]  # noqa: E402


def load(work: Work) -> Extract:
    model: Any = load_model(work)

    def extract(some: Work) -> Found:
        # Texts are numbers of conversations: what repeng tokenises are the tokens that everybody is given.
        known = {f"{number}": each for number, each in enumerate(each for pair in some.pairs for each in pair)}

        def tokenizer(batch: list[str], padding: bool, return_tensors: str) -> BatchEncoding:  # noqa: ARG001
            return BatchEncoding(padded([known[name] for name in batch]))

        entries = [repeng.DatasetEntry(f"{2 * pair}", f"{2 * pair + 1}") for pair in range(len(some.pairs))]
        with torch.inference_mode():
            repeng.read_representations(model, tokenizer, entries)
        return Found(None)

    return extract
