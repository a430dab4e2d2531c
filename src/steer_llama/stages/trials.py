"""Steered answers and their measurements: what the sweep is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.chat import Journal, question_seed
from steer_llama.config import Sampling
from steer_llama.files import digest_json
from steer_llama.lm.generation import Generation, Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.tokens import encode_prompt
from steer_llama.progress import Reporter
from steer_llama.records import Arm, Demonstration, SplitName, Spot, Trial, as_json
from steer_llama.stages.measurer import Measurer, gathered
from steer_llama.stages.spots import steering_at
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
        self._sampling = sampling
        self._batch_size = batch_size
        self._measurer = Measurer(model, prompt, sampling.max_tokens, batch_size)
        self.of_source = self._measurer.of_source

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
            finished = generate(self._model, rows, self._sampling, self._batch_size)
            for batch in gathered(finished, self._batch_size):
                picked = [(jobs[missing[row]], keys[missing[row]], answer) for row, answer in batch]
                for trial in self._measured(picked):
                    journal.append(as_json(trial))
                    known[trial.key] = trial
                advance(len(batch))
        return [known[key] for key in keys]

    def _measured(self, batch: Sequence[tuple[Job, str, Generation]]) -> list[Trial]:
        measured = self._measurer.measured([(job.question, answer.text) for job, _, answer in batch])
        return [
            Trial.model_validate(
                {
                    "key": key,
                    "split": job.split,
                    "arm": job.setup.arm,
                    **({} if job.setup.spot is None else job.setup.spot._asdict()),
                    "direction": job.setup.direction,
                    "sample": job.sample,
                    "finish_reason": answer.finish_reason,
                    **facts,
                }
            )
            for (job, key, answer), facts in zip(batch, measured, strict=True)
        ]

    def _row(self, job: Job) -> Row:
        ids = encode_prompt(self._model.tokenizer, self._measurer.messages(job.question, job.setup.prompt))
        spot = job.setup.spot
        steering = None if spot is None else steering_at(spot, self._vectors[spot.vector], job.setup.direction)
        return Row(tuple(ids), self._seed(job), steering)

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
                "messages": list(self._measurer.messages(job.question, job.setup.prompt)),
                "setup": [job.setup.arm, None if spot is None else list(spot), job.setup.direction],
                "split": job.split,
                "sample": job.sample,
            }
        )


def _fingerprint(vector: SteeringVector) -> str:
    """Of what steers, and not of the evidence or the recommendation."""
    norms = [vector.residual_norm(layer) for layer in vector.layers]
    return digest_json([vector.directions_LD.tolist(), norms, list(vector.layers)])
