"""Answers under several vectors at once, and their measurements.

Shapes: D width.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from steer_llama.chat import Journal, question_seed
from steer_llama.config import Sampling
from steer_llama.files import digest_json
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering
from steer_llama.lm.tokens import encode_prompt
from steer_llama.records import Demonstration, SplitName, as_json
from steer_llama.records.tuned import TunedTrial
from steer_llama.stages.measurer import Measurer, gathered
from steer_llama.vectors import SteeringVector


@dataclass(frozen=True)
class Part:
    """One vector at its layer, or a random direction in its place."""

    name: str
    vector: SteeringVector
    layer: int
    direction: int | None = None
    """Seed of the random direction."""

    @cached_property
    def fingerprint(self) -> str:
        """Of what is added at strength 1."""
        row_D = self.vector.direction_D(self.layer)
        return digest_json([row_D.tolist(), self.vector.residual_norm(self.layer), self.layer, self.direction])

    def steering(self, strength: float) -> Steering:
        """What is added; a random direction turns round with the sign, as the vector does."""
        if self.direction is None:
            added_D = self.vector.scaled_D(self.layer, strength)
        else:
            random_D = self.vector.random_like_D(self.layer, strength, self.direction)
            added_D = random_D * np.float32(math.copysign(1, strength))
        return Steering(self.layer, torch.from_numpy(added_D))


@dataclass(frozen=True)
class Job:
    """One answer to write: how much of each part, a question, and which of its samples."""

    strengths: Mapping[str, float]
    """By the parts' names; what is missing or 0 is not added."""
    split: SplitName
    question: str
    sample: int = 0


class Ensemble:
    """Writes answers under combinations and measures them; every answer is journalled when its batch is done."""

    def __init__(self, model: LanguageModel, system_prompt: str, sampling: Sampling, batch_size: int) -> None:
        """``system_prompt`` is the target's own, under which perplexity is measured too."""
        self._model = model
        self._sampling = sampling
        self._batch_size = batch_size
        self._measurer = Measurer(model, Demonstration(system_prompt=system_prompt), sampling.max_tokens, batch_size)
        self.of_source = self._measurer.of_source

    def run(
        self,
        parts: Sequence[Part],
        jobs: Sequence[Job],
        journal: Journal,
        known: dict[str, TunedTrial],
        advance: Callable[[int], None],
    ) -> list[TunedTrial]:
        """The answers of ``jobs``, in their order, all written in as few batches as there can be.

        Those in ``known`` (by key) are not written again, and jobs that come to the same are written once.

        Raises:
            ContextLengthError: a question does not fit the model's context.
            StorageError: the journal cannot be written.
        """
        by_name = {part.name: part for part in parts}
        keys = [self._key(job, by_name) for job in jobs]
        missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in known}
        advance(sum(key not in missing for key in keys))
        rows = [self._row(job, by_name) for job in missing.values()]
        todo = list(missing.items())
        finished = generate(self._model, rows, self._sampling, self._batch_size)
        for batch in gathered(finished, self._batch_size):
            measured = self._measurer.measured([(todo[row][1].question, answer.text) for row, answer in batch])
            for (row, answer), facts in zip(batch, measured, strict=True):
                key, job = todo[row]
                used = {name: strength for name, strength in job.strengths.items() if strength}
                known[key] = TunedTrial(
                    key=key,
                    split=job.split,
                    arm=_arm([by_name[name] for name in used]),
                    sample=job.sample,
                    finish_reason=answer.finish_reason,
                    strengths=used,
                    **facts,
                )
                journal.append(as_json(known[key]))
                advance(keys.count(key))
        return [known[key] for key in keys]

    def _row(self, job: Job, parts: Mapping[str, Part]) -> Row:
        ids = tuple(encode_prompt(self._model.tokenizer, self._measurer.messages(job.question)))
        # The same for every combination, so that combinations differ by what they do and not by their luck.
        seed = question_seed(self._sampling.seed + job.sample, job.question)
        added = [parts[name].steering(strength) for name, strength in job.strengths.items() if strength]
        return Row(ids, seed, added)

    def _key(self, job: Job, parts: Mapping[str, Part]) -> str:
        used = [[parts[name].fingerprint, strength] for name, strength in job.strengths.items() if strength]
        return digest_json(
            {
                "model": self._model.fingerprint,
                "dtype": self._model.dtype,
                "sampling": self._sampling.model_dump(mode="json"),
                "messages": list(self._measurer.messages(job.question)),
                "added": sorted(used),
                "split": job.split,
                "sample": job.sample,
            }
        )


def _arm(used: Sequence[Part]) -> str:
    if not used:
        return "unsteered"
    return "steered" if used[0].direction is None else "random"
