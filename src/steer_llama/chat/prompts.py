"""What is sent to a chat model, and the names and seeds that belong to it."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from steer_llama.config import Sampling
from steer_llama.files import digest_json
from steer_llama.records import ChatRequest, Message, Turn


def build_messages(system_prompt: str, examples: Iterable[Turn], question: str) -> tuple[Message, ...]:
    """The conversation that asks ``question``: the system prompt (if any), the example turns, the question."""
    messages: list[Message] = []
    if system_prompt:
        messages.append({"role": "system", "content": system_prompt})
    for turn in examples:
        messages.append({"role": "user", "content": turn.user})
        messages.append({"role": "assistant", "content": turn.assistant})
    messages.append({"role": "user", "content": question})
    return tuple(messages)


def last_question(messages: Sequence[Message]) -> str:
    """The last user message, by which recorded answers are found and errors name a request; ``""`` if there is none."""
    return next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")


def chat_request(
    identity: str,
    messages: Sequence[Message],
    sampling: Sampling,
    *,
    answer_schema: dict[str, Any] | None = None,
    top_logprobs: int = 0,
    continues: bool = False,
) -> ChatRequest:
    """A request with its own seed, and its key: same model, conversation, sampling and demands, same key.

    Args:
        identity: tells the model from all others wherever it runs, e.g. its address and name, or its weights.
        messages: the conversation.
        sampling: its seed and the last question make the request's seed.
        answer_schema: see `ChatRequest`.
        top_logprobs: see `ChatRequest`.
        continues: see `ChatRequest`.
    """
    asked = {"model": identity, "messages": list(messages), "sampling": sampling.model_dump(mode="json")}
    demands = {"answer_schema": answer_schema, "top_logprobs": top_logprobs, "continues": continues}
    return ChatRequest(
        key=digest_json(asked | {name: demand for name, demand in demands.items() if demand}),
        messages=tuple(messages),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        max_tokens=sampling.max_tokens,
        seed=question_seed(sampling.seed, last_question(messages)),
        answer_schema=answer_schema,
        top_logprobs=top_logprobs,
        continues=continues,
    )


def question_seed(seed: int, question: str) -> int:
    """A 31-bit seed from the run's seed and the question alone: an answer does not depend on its neighbours."""
    digest = hashlib.sha256(f"{seed}\n{question}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFF_FFFF
