"""Steered answers and their measurements: what the sweep is made of.

Shapes: D width.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from steer_llama.chat import Journal, build_messages, question_seed
from steer_llama.config import Sampling
from steer_llama.errors import ModelError
from steer_llama.files import digest_json
from steer_llama.lm.generation import Generation, Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.score import answer_nll
from steer_llama.lm.tokens import AnswerTokens, encode_answer, encode_prompt
from steer_llama.progress import Reporter
from steer_llama.records import Arm, Demonstration, Message, Response, Split, SplitName, Spot, Trial, as_json
from steer_llama.stages.spots import steering_at
from steer_llama.style import distinct_n, measure, repetition
from steer_llama.vectors import SteeringVector


@dataclass(frozen=True)
class Setup:
    """One way to answer a question: an arm, steered or not, with a prompt of its own or the target's."""

    arm: Arm
    spot: Spot | None = None
    """Where and how it is steered."""
    direction: int | None = None
    """Seed of the random direction that stands for the vector's."""
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
    """Writes answers under setups and measures them; every trial is journalled a batch after it is written.

    The trait score is not among the measurements (`scorers` gives it): another judge needs no other answers.
    """

    def __init__(
        self,
        model: LanguageModel,
        vectors: Mapping[str, SteeringVector],
        prompt: Demonstration,
        sampling: Sampling,
        batch_size: int,
    ) -> None:
        """``vectors`` by the names that spots have for them; ``prompt``, the target's own, is perplexity's too."""
        self._model = model
        self._vectors = vectors
        self._fingerprints = {name: _fingerprint(vector) for name, vector in vectors.items()}
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
        written: list[tuple[Job, str, Generation]] = []

        def keep() -> None:
            for trial in self._measure(written):
                journal.append(as_json(trial))
                known[trial.key] = trial
            advance(len(written))
            written.clear()

        with reporter.task(title, len(jobs), "answers", len(jobs) - len(missing)) as advance:
            for finished in generate(self._model, rows, self._sampling, self._batch_size):
                written += [(jobs[missing[row]], keys[missing[row]], answer) for row, answer in finished]
                if len(written) >= self._batch_size:
                    keep()
            keep()
        return [known[key] for key in keys]

    def of_source(self, responses: Sequence[Response], split: Split) -> list[Trial]:
        """The source's own answers to dev and test questions, cut to the target's length and measured alike.

        Uncut, their length alone would keep everything that the target may write away from them.
        """
        asked = {question: part for part, questions in _held_out(split).items() for question in questions}
        own = [answer for answer in responses if answer.role == "source" and answer.question in asked]
        cut = [self._cut(answer.text) for answer in own]
        nats = self._nats([(answer.question, text) for answer, text in zip(own, cut, strict=True)])
        return [
            self._trial(
                key=answer.key,
                split=asked[answer.question],
                arm="source",
                question=answer.question,
                text=text,
                finish_reason=answer.finish_reason if text == answer.text else "length",
                nats=nats[index],
            )
            for index, (answer, text) in enumerate(zip(own, cut, strict=True))
        ]

    def _cut(self, text: str) -> str:
        """The text up to as many tokens as an answer of the target may have."""
        ids = self._model.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) <= self._sampling.max_tokens:
            return text
        kept: str = self._model.tokenizer.decode(
            ids[: self._sampling.max_tokens], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return kept.rstrip("\N{REPLACEMENT CHARACTER}").strip()

    def _measure(self, batch: Sequence[tuple[Job, str, Generation]]) -> list[Trial]:
        nats = self._nats([(job.question, answer.text) for job, _, answer in batch])
        return [
            self._trial(
                key=key,
                split=job.split,
                arm=job.setup.arm,
                **({} if job.setup.spot is None else job.setup.spot._asdict()),
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
                "repetition": repetition(text),
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
        spot = job.setup.spot
        steering = None if spot is None else steering_at(spot, self._vectors[spot.vector], job.setup.direction)
        return Row(tuple(ids), self._seed(job), steering)

    def _messages(self, prompt: Demonstration | None, question: str) -> tuple[Message, ...]:
        prompt = prompt or self._prompt
        return build_messages(prompt.system_prompt, prompt.examples, question)

    def _seed(self, job: Job) -> int:
        """The same for every setup, so that setups differ by what they do and not by their luck."""
        return question_seed(self._sampling.seed + job.sample, job.question)

    def _key(self, job: Job) -> str:
        spot = job.setup.spot
        return digest_json(
            {
                "model": self._model.fingerprint,
                "dtype": self._model.dtype,
                "vector": None if spot is None else self._fingerprints[spot.vector],
                "sampling": self._sampling.model_dump(mode="json"),
                "messages": list(self._messages(job.setup.prompt, job.question)),
                "setup": [job.setup.arm, None if spot is None else list(spot), job.setup.direction],
                "split": job.split,
                "sample": job.sample,
            }
        )


def _held_out(split: Split) -> dict[SplitName, tuple[str, ...]]:
    return {"dev": split.dev, "test": split.test}


def _fingerprint(vector: SteeringVector) -> str:
    """Of what steers, and not of the evidence or the recommendation."""
    norms = [vector.residual_norm(layer) for layer in vector.layers]
    return digest_json([vector.directions_LD.tolist(), norms, list(vector.layers)])
