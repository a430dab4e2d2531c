"""Answers under several vectors at once, and their measurements.

Shapes: D width.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from steer_llama.chat import Journal, build_messages, question_seed
from steer_llama.config import Sampling
from steer_llama.errors import ModelError
from steer_llama.files import digest_json
from steer_llama.lm.generate import Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.score import answer_nll
from steer_llama.lm.steer import Steering
from steer_llama.lm.tokens import AnswerTokens, encode_answer, encode_prompt
from steer_llama.records import Message, Response, SplitName, Trial, as_json
from steer_llama.records.tuned import TunedTrial
from steer_llama.style import distinct_n, measure
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
        self._system_prompt = system_prompt
        self._sampling = sampling
        self._batch_size = batch_size

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
        for batch in generate(self._model, rows, self._sampling, self._batch_size):
            nats = self._nats([(todo[row][1].question, answer.text) for row, answer in batch])
            for (row, answer), measured in zip(batch, nats, strict=True):
                key, job = todo[row]
                used = {name: strength for name, strength in job.strengths.items() if strength}
                known[key] = TunedTrial(
                    key=key,
                    split=job.split,
                    arm=_arm([by_name[name] for name in used]),
                    sample=job.sample,
                    question=job.question,
                    finish_reason=answer.finish_reason,
                    strengths=used,
                    **_measured(answer.text, measured),
                )
                journal.append(as_json(known[key]))
                advance(keys.count(key))
        return [known[key] for key in keys]

    def of_source(self, responses: Sequence[Response]) -> list[Trial]:
        """The source's own answers, measured like everybody's."""
        nats = self._nats([(response.question, response.text) for response in responses])
        return [
            Trial(
                key=response.key,
                split=response.split,
                arm="source",
                question=response.question,
                finish_reason=response.finish_reason,
                **_measured(response.text, measured),
            )
            for response, measured in zip(responses, nats, strict=True)
        ]

    def _nats(self, answers: Sequence[tuple[str, str]]) -> list[tuple[float | None, int]]:
        """Nats and tokens of each (question, answer) under the unsteered target with its own prompt.

        Unscored (``None``) where the chat template does not show the answer as it is (some cut at a "</think>").
        """
        encoded: dict[int, AnswerTokens] = {}
        for index, (question, text) in enumerate(answers):
            with suppress(ModelError):
                encoded[index] = encode_answer(self._model.tokenizer, self._messages(question), text)
        scored: list[tuple[float | None, int]] = [(None, 0)] * len(answers)
        places = list(encoded)
        for batch in answer_nll(self._model, list(encoded.values()), self._batch_size):
            for index, nats, tokens in batch:
                scored[places[index]] = (nats, tokens)
        return scored

    def _row(self, job: Job, parts: Mapping[str, Part]) -> Row:
        ids = tuple(encode_prompt(self._model.tokenizer, self._messages(job.question)))
        # The same for every combination, so that combinations differ by what they do and not by their luck.
        seed = question_seed(self._sampling.seed + job.sample, job.question)
        added = [parts[name].steering(strength) for name, strength in job.strengths.items() if strength]
        return Row(ids, seed, _together(added))

    def _messages(self, question: str) -> tuple[Message, ...]:
        return build_messages(self._system_prompt, (), question)

    def _key(self, job: Job, parts: Mapping[str, Part]) -> str:
        used = [[parts[name].fingerprint, strength] for name, strength in job.strengths.items() if strength]
        return digest_json(
            {
                "model": self._model.fingerprint,
                "dtype": self._model.dtype,
                "sampling": self._sampling.model_dump(mode="json"),
                "messages": list(self._messages(job.question)),
                "added": sorted(used),
                "split": job.split,
                "sample": job.sample,
            }
        )


def _together(added: Sequence[Steering]) -> Any:
    """One intervention a layer: several are a tuple, one is itself, none is ``None``."""
    by_layer: dict[int, Steering] = {}
    for each in added:
        before = by_layer.get(each.layer)
        by_layer[each.layer] = each if before is None else Steering(each.layer, before.vector_D + each.vector_D)
    found = tuple(by_layer.values())
    return found if len(found) > 1 else found[0] if found else None


def _arm(used: Sequence[Part]) -> str:
    if not used:
        return "unsteered"
    return "steered" if used[0].direction is None else "random"


def _measured(text: str, nats: tuple[float | None, int]) -> dict[str, Any]:
    return {
        "text": text,
        "features": measure(text),
        "nll": nats[0],
        "tokens": nats[1],
        "distinct_2": distinct_n(text, 2),
    }
