"""Choosing each row's next token, with randomness that is the row's own.

Shapes: N rows, V vocabulary.
"""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import TopPLogitsWarper

from steer_llama.config import Sampling


def generator_of(seed: int) -> np.random.Generator:
    """A row's source of randomness; numpy's, as torch's take three times as long for a vocabulary of 50,000."""
    return np.random.Generator(np.random.SFC64(seed))


class Sampler:
    """Chooses tokens as ``sampling`` says; a row's choice depends on nothing but the row."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._top_p = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None

    def choose(
        self, logits_NV: Tensor, written: Sequence[Collection[int]], generators: Sequence[np.random.Generator]
    ) -> list[int]:
        """The next token of each row.

        Args:
            logits_NV: what the model gives; float32 or better. It is written over.
            written: the tokens of each row's answer so far.
            generators: the rows' own (`generator_of`), which move on.
        """
        if self._sampling.repetition_penalty != 1:
            self._penalise(logits_NV, written)
        if self._sampling.temperature > 0:
            logits_NV /= self._sampling.temperature
            if self._top_p is not None:
                logits_NV = self._top_p(None, logits_NV)
            logits_NV = logits_NV.float()
            logits_NV -= _minus_noise_NV(generators, logits_NV.shape[1]).to(logits_NV.device)
        chosen: list[int] = logits_NV.argmax(dim=-1).tolist()
        return chosen

    def _penalise(self, logits_NV: Tensor, written: Sequence[Collection[int]]) -> None:
        """Keskar et al. (1909.05858), over the answer's tokens alone: the prompt's words may well be needed."""
        penalty = self._sampling.repetition_penalty
        for row_V, tokens in zip(logits_NV, written, strict=True):
            if tokens:
                seen = torch.tensor(sorted(set(tokens)), device=row_V.device)
                score = row_V[seen]
                row_V[seen] = torch.where(score < 0, score * penalty, score / penalty)


def _minus_noise_NV(generators: Sequence[np.random.Generator], vocabulary: int) -> Tensor:
    """Gumbel noise, negated: with it, the largest logit is a sample from the softmax (the Gumbel-max trick)."""
    uniform_NV = np.empty((len(generators), vocabulary), dtype=np.float32)
    for row_V, generator in zip(uniform_NV, generators, strict=True):
        generator.random(out=row_V, dtype=np.float32)
    # Never 0 or 1, whose noise would be infinite.
    return torch.from_numpy(uniform_NV).clamp_(1e-20, 1 - 1e-7).log_().neg_().log_()
