"""What is measured of every answer, whoever wrote it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from steer_llama.chat import build_messages
from steer_llama.errors import ModelError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.score import answer_nll
from steer_llama.lm.tokens import AnswerTokens, encode_answer
from steer_llama.records import Demonstration, Message, Response, SplitName, Trial
from steer_llama.style import distinct_n, measure, repetition

_T = TypeVar("_T")


class Measurer:
    """Measures answers: style, repetition, and how likely the unsteered target with its own prompt finds them."""

    def __init__(self, model: LanguageModel, prompt: Demonstration, max_tokens: int, batch_size: int) -> None:
        """``prompt`` is the target's own; ``max_tokens`` is how long its answers may be."""
        self._model = model
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._batch_size = batch_size

    def messages(self, question: str, prompt: Demonstration | None = None) -> tuple[Message, ...]:
        """A question behind the target's own prompt, or another."""
        prompt = prompt or self._prompt
        return build_messages(prompt.system_prompt, prompt.examples, question)

    def measured(self, answers: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """The measurements of each (question, answer), by the names that `Trial` has for them."""
        return [
            {
                "question": question,
                "text": text,
                "features": measure(text),
                "nll": nats,
                "tokens": tokens,
                "distinct_2": distinct_n(text, 2),
                "repetition": repetition(text),
            }
            for (question, text), (nats, tokens) in zip(answers, self._nats(answers), strict=True)
        ]

    def of_source(self, responses: Sequence[Response], asked: Mapping[str, SplitName]) -> list[Trial]:
        """The source's own answers to the questions of ``asked``, cut to the target's length and measured alike.

        Uncut, their length alone would keep everything that the target may write away from them.
        """
        own = [answer for answer in responses if answer.role == "source" and answer.question in asked]
        cut = [(answer.question, self._cut(answer.text)) for answer in own]
        return [
            Trial(
                key=answer.key,
                split=asked[answer.question],
                arm="source",
                finish_reason=answer.finish_reason if measured["text"] == answer.text else "length",
                **measured,
            )
            for answer, measured in zip(own, self.measured(cut), strict=True)
        ]

    def _cut(self, text: str) -> str:
        """The text up to as many tokens as an answer of the target may have."""
        ids = self._model.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) <= self._max_tokens:
            return text
        kept: str = self._model.tokenizer.decode(
            ids[: self._max_tokens], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return kept.rstrip("\N{REPLACEMENT CHARACTER}").strip()

    def _nats(self, answers: Sequence[tuple[str, str]]) -> list[tuple[float | None, int]]:
        """Nats and tokens of each answer.

        Unscored (``None``) where the chat template does not show the answer as it is (some cut at a "</think>").
        """
        encoded: dict[int, AnswerTokens] = {}
        for index, (question, text) in enumerate(answers):
            with suppress(ModelError):
                encoded[index] = encode_answer(self._model.tokenizer, self.messages(question), text)
        scored: list[tuple[float | None, int]] = [(None, 0)] * len(answers)
        places = list(encoded)
        for batch in answer_nll(self._model, list(encoded.values()), self._batch_size):
            for index, nats, tokens in batch:
                scored[places[index]] = (nats, tokens)
        return scored


def gathered(finished: Iterable[Sequence[_T]], size: int) -> Iterator[list[_T]]:
    """What comes in ones and twos, in lists of at least ``size`` (the last may be shorter)."""
    kept: list[_T] = []
    for some in finished:
        kept += some
        if len(kept) >= size:
            yield kept
            kept = []
    if kept:
        yield kept
