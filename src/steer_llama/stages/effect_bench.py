"""Writes the answers and does the readings that side effects are told from, each journalled when its batch is done."""

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from steer_llama.chat import Journal, question_seed
from steer_llama.config import Sampling
from steer_llama.errors import ModelError
from steer_llama.files import digest_json
from steer_llama.lm.divergence import Passage, divergences
from steer_llama.lm.generation import Generation, Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.score import answer_nll
from steer_llama.lm.steering import Steering
from steer_llama.lm.tokens import AnswerTokens, encode_answer, encode_prompt
from steer_llama.progress import Reporter
from steer_llama.records import EffectPiece, EffectReading, EffectReply, Message, as_json
from steer_llama.stages.journalled import journalled


@dataclass(frozen=True)
class Ask:
    """One answer to write."""

    messages: tuple[Message, ...]
    question: str
    """Its text makes the seed, which is the same with and without steering."""
    steered: bool
    scored: bool = False
    """Whether its likelihood under the unsteered model is wanted."""


class Bench:
    """A model, what steers it, and the pieces of work that are done.

    A piece is known by the model, what steers (nothing, for an unsteered answer, which therefore serves every vector),
    the sampling and the conversation or the tokens.
    """

    def __init__(
        self,
        model: LanguageModel,
        steering: tuple[Steering, ...],
        batch_size: int,
        journal: Journal | None,
        key: str,
        reporter: Reporter,
    ) -> None:
        """``key`` tells the vector and how it is used; the journal holds nothing else. Raises as `journalled`."""
        self.model = model
        self._steering = steering
        self._batch_size = batch_size
        self._journal = journal
        self._reporter = reporter
        self._known = {piece.key: piece for piece in journalled(journal, EffectPiece)} if journal else {}
        self._model_key = [model.fingerprint, model.name, model.dtype]
        self._steering_key = digest_json([key, [_facts(part) for part in steering]])

    def replies(self, asks: Sequence[Ask], sampling: Sampling, title: str) -> list[EffectReply]:
        """The answers to ``asks``, in their order.

        Unsteered and steered ones that stand beside each other in ``asks`` are written in one batch.

        Raises:
            ContextLengthError: a conversation does not fit the model's context.
            StorageError: the journal cannot be written.
        """
        keys = [self._reply_key(ask, sampling) for ask in asks]
        missing = [index for index, key in enumerate(keys) if key not in self._known]
        rows = [self._row(asks[index], sampling) for index in missing]
        with self._reporter.task(title, len(asks), "answers", len(asks) - len(missing)) as advance:
            for batch in generate(self.model, rows, sampling, self._batch_size):
                picked = [(missing[row], answer) for row, answer in batch]
                nats = self._nats([(asks[index], answer) for index, answer in picked])
                for (index, answer), (total, tokens) in zip(picked, nats, strict=True):
                    reply = EffectReply(
                        text=answer.text,
                        finish_reason=answer.finish_reason,
                        tokens=answer.tokens,
                        nats=total,
                        scored_tokens=tokens,
                    )
                    self._keep(EffectPiece(key=keys[index], reply=reply))
                advance(len(batch))
        found = [self._known[key].reply for key in keys]
        return [reply for reply in found if reply is not None]

    def readings(self, passages: Sequence[Passage], title: str) -> list[EffectReading]:
        """What ``passages`` came to, in their order. Raises as `divergences`, and StorageError."""
        keys = [
            digest_json([self._model_key, self._steering_key, list(passage.ids), passage.start]) for passage in passages
        ]
        missing = [index for index, key in enumerate(keys) if key not in self._known]
        todo = [passages[index] for index in missing]
        with self._reporter.task(title, len(passages), "texts", len(passages) - len(missing)) as advance:
            for batch in divergences(self.model, todo, self._steering, self._batch_size):
                for index, found in batch:
                    reading = EffectReading.model_validate(dataclasses.asdict(found))
                    self._keep(EffectPiece(key=keys[missing[index]], reading=reading))
                advance(len(batch))
        found_all = [self._known[key].reading for key in keys]
        return [reading for reading in found_all if reading is not None]

    def _keep(self, piece: EffectPiece) -> None:
        if self._journal is not None:
            self._journal.append(as_json(piece))
        self._known[piece.key] = piece

    def _row(self, ask: Ask, sampling: Sampling) -> Row:
        ids = encode_prompt(self.model.tokenizer, ask.messages)
        steering = self._steering if ask.steered else None
        return Row(tuple(ids), question_seed(sampling.seed, ask.question), steering)

    def _reply_key(self, ask: Ask, sampling: Sampling) -> str:
        return digest_json(
            {
                "model": self._model_key,
                "steering": self._steering_key if ask.steered else None,
                "sampling": sampling.model_dump(mode="json"),
                "messages": list(ask.messages),
                "question": ask.question,
                "scored": ask.scored,
            }
        )

    def _nats(self, answers: Iterable[tuple[Ask, Generation]]) -> list[tuple[float | None, int]]:
        """Nats and tokens under the unsteered model; ``None`` where not asked for or not shown by the template."""
        encoded: dict[int, AnswerTokens] = {}
        total: list[tuple[float | None, int]] = []
        for index, (ask, answer) in enumerate(answers):
            total.append((None, 0))
            if ask.scored:
                with suppress(ModelError):
                    encoded[index] = encode_answer(self.model.tokenizer, ask.messages, answer.text)
        places = list(encoded)
        for batch in answer_nll(self.model, list(encoded.values()), self._batch_size):
            for place, nats, tokens in batch:
                total[places[place]] = (nats, tokens)
        return total


def _facts(part: Steering) -> dict[str, Any]:
    """An intervention as plain values, so that another one never passes for it, whatever the caller's key says."""
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return {name: value.tolist() if isinstance(value, torch.Tensor) else repr(value) for name, value in values.items()}
