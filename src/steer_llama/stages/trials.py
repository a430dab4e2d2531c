"""Steered answers and their measurements: what the sweep is made of.

Shapes: D width.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch

from steer_llama.chat import Journal, build_messages, question_seed
from steer_llama.config import Sampling
from steer_llama.errors import ModelError
from steer_llama.files import digest_json
from steer_llama.lm.generation import Generation, Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.score import answer_nll
from steer_llama.lm.steering import Steering
from steer_llama.lm.tokens import AnswerTokens, encode_answer, encode_prompt
from steer_llama.progress import Reporter
from steer_llama.records import Demonstration, Message, Response, SplitName, Trial, as_json
from steer_llama.style import distinct_n, measure
from steer_llama.vectors import SteeringVector


@dataclass(frozen=True)
class Setup:
    """One way to answer a question: an arm, steered or not, with a prompt of its own or the target's."""

    arm: Literal["unsteered", "steered", "random", "prompted"]
    layer: int | None = None
    strength: float | None = None
    direction: int | None = None
    """Seed of the random direction."""
    prompt: Demonstration | None = None
    """Instead of the target's own prompt."""


@dataclass(frozen=True)
class Job:
    """One answer to write: a setup, a question, and which of its samples."""

    setup: Setup
    split: SplitName
    question: str
    sample: int = 0


class Laboratory:
    """Writes answers under setups and measures them; every trial is journalled when its batch is done.

    The trait score is not among the measurements (`scorers` gives it): another judge needs no other answers.
    """

    def __init__(
        self,
        model: LanguageModel,
        vector: SteeringVector,
        vector_fingerprint: str,
        prompt: Demonstration,
        sampling: Sampling,
        batch_size: int,
    ) -> None:
        """``prompt`` is the target's own, under which perplexity is measured too."""
        self._model = model
        self._vector = vector
        self._vector_fingerprint = vector_fingerprint
        self._prompt = prompt
        self._sampling = sampling
        self._batch_size = batch_size

    def run(
        self, jobs: Sequence[Job], journal: Journal, known: dict[str, Trial], reporter: Reporter, title: str
    ) -> list[Trial]:
        """The trials of ``jobs``, in their order; those in ``known`` (by key) are not run again.

        Raises:
            ContextLengthError: a question does not fit the model's context.
            StorageError: the journal cannot be written.
        """
        keys = [self._key(job) for job in jobs]
        missing = [index for index, key in enumerate(keys) if key not in known]
        rows = [self._row(jobs[index]) for index in missing]
        with reporter.task(title, len(jobs), "answers", len(jobs) - len(missing)) as advance:
            for batch in generate(self._model, rows, self._sampling, self._batch_size):
                picked = [(jobs[missing[row]], keys[missing[row]], answer) for row, answer in batch]
                for trial in self._measure(picked):
                    journal.append(as_json(trial))
                    known[trial.key] = trial
                advance(len(batch))
        return [known[key] for key in keys]

    def of_source(self, responses: Sequence[Response]) -> list[Trial]:
        """The source's own answers, measured like everybody's."""
        nats = self._nats([(response.question, response.text) for response in responses])
        return [
            self._trial(
                key=response.key,
                split=response.split,
                arm="source",
                question=response.question,
                text=response.text,
                finish_reason=response.finish_reason,
                nats=nats[index],
            )
            for index, response in enumerate(responses)
        ]

    def _measure(self, batch: Sequence[tuple[Job, str, Generation]]) -> list[Trial]:
        nats = self._nats([(job.question, answer.text) for job, _, answer in batch])
        return [
            self._trial(
                key=key,
                split=job.split,
                arm=job.setup.arm,
                layer=job.setup.layer,
                strength=job.setup.strength,
                direction=job.setup.direction,
                sample=job.sample,
                question=job.question,
                text=answer.text,
                finish_reason=answer.finish_reason,
                nats=nats[index],
            )
            for index, (job, key, answer) in enumerate(batch)
        ]

    def _trial(self, *, text: str, nats: tuple[float | None, int], **facts: object) -> Trial:
        return Trial.model_validate(
            {
                **facts,
                "text": text,
                "features": measure(text),
                "nll": nats[0],
                "tokens": nats[1],
                "distinct_2": distinct_n(text, 2),
            }
        )

    def _nats(self, answers: Sequence[tuple[str, str]]) -> dict[int, tuple[float | None, int]]:
        """Nats and tokens of each answer under the unsteered target with its own prompt.

        Unscored (``None``) where the chat template does not show the answer as it is (some cut at a "</think>").
        """
        encoded: dict[int, AnswerTokens] = {}
        for index, (question, text) in enumerate(answers):
            with suppress(ModelError):
                encoded[index] = encode_answer(self._model.tokenizer, self._messages(None, question), text)
        scored: dict[int, tuple[float | None, int]] = dict.fromkeys(range(len(answers)), (None, 0))
        places = list(encoded)
        for batch in answer_nll(self._model, list(encoded.values()), self._batch_size):
            scored.update({places[index]: (nats, tokens) for index, nats, tokens in batch})
        return scored

    def _row(self, job: Job) -> Row:
        ids = encode_prompt(self._model.tokenizer, self._messages(job.setup.prompt, job.question))
        return Row(tuple(ids), self._seed(job), self._steering(job.setup))

    def _steering(self, setup: Setup) -> Steering | None:
        if setup.layer is None or setup.strength is None:
            return None
        if setup.direction is None:
            added_D = self._vector.scaled_D(setup.layer, setup.strength)
        else:
            added_D = self._vector.random_like_D(setup.layer, setup.strength, setup.direction)
        return Steering(setup.layer, torch.from_numpy(added_D))

    def _messages(self, prompt: Demonstration | None, question: str) -> tuple[Message, ...]:
        prompt = prompt or self._prompt
        return build_messages(prompt.system_prompt, prompt.examples, question)

    def _seed(self, job: Job) -> int:
        """The same for every setup, so that setups differ by what they do and not by their luck."""
        return question_seed(self._sampling.seed + job.sample, job.question)

    def _key(self, job: Job) -> str:
        return digest_json(
            {
                "model": self._model.fingerprint,
                "dtype": self._model.dtype,
                "vector": self._vector_fingerprint if job.setup.layer is not None else None,
                "sampling": self._sampling.model_dump(mode="json"),
                "messages": list(self._messages(job.setup.prompt, job.question)),
                "setup": [job.setup.arm, job.setup.layer, job.setup.strength, job.setup.direction],
                "split": job.split,
                "sample": job.sample,
            }
        )
