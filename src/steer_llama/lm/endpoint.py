"""Weights in this process as a chat endpoint (the shape that ``chat.Endpoint`` asks for)."""

from collections.abc import Iterator, Sequence

from steer_llama.config import Sampling
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.tokens import encode_prompt
from steer_llama.records import ChatReply, ChatRequest


class LocalEndpoint:
    """Answers batch by batch, unsteered."""

    def __init__(self, name: str, model: LanguageModel, batch_size: int) -> None:
        self.name = name
        self._model = model
        self._batch_size = batch_size

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        """Yield the replies of each batch when it is done.

        Raises:
            ModelError: the model cannot be asked as a chat model.
            ContextLengthError: a question does not fit the model's context.
        """
        for sampling, group in _by_sampling(requests):
            rows = [Row(tuple(encode_prompt(self._model.tokenizer, r.messages)), r.seed) for r in group]
            for batch in generate(self._model, rows, sampling, self._batch_size):
                for index, answer in batch:
                    yield ChatReply(
                        key=group[index].key,
                        text=answer.text,
                        finish_reason=answer.finish_reason,
                        model=self._model.name,
                        prompt_tokens=len(rows[index].prompt_ids),
                        completion_tokens=answer.tokens,
                    )


def _by_sampling(requests: Sequence[ChatRequest]) -> Iterator[tuple[Sampling, list[ChatRequest]]]:
    """Rows of a batch share their sampling (but for the seed), so unlike requests go in batches of their own."""
    groups: dict[Sampling, list[ChatRequest]] = {}
    for request in requests:
        sampling = Sampling(
            temperature=request.temperature,
            top_p=request.top_p,
            repetition_penalty=request.repetition_penalty,
            max_tokens=request.max_tokens,
        )
        groups.setdefault(sampling, []).append(request)
    yield from groups.items()
