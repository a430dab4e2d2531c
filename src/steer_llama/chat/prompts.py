"""What is sent to a chat model, and the names and seeds that belong to it."""

import hashlib
from collections.abc import Iterable, Sequence

from steer_llama.config import Sampling
from steer_llama.files import digest_json
from steer_llama.records import Message, Turn


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


def request_key(model: str, messages: Sequence[Message], sampling: Sampling) -> str:
    """A stable name (SHA-256, hex) of a request: same model, same conversation, same sampling, same key.

    ``model`` identifies the model wherever it runs, e.g. its name and base URL, or its weights and dtype.
    """
    return digest_json({"model": model, "messages": list(messages), "sampling": sampling.model_dump(mode="json")})


def question_seed(seed: int, question: str) -> int:
    """A 31-bit seed from the run's seed and the question alone: an answer does not depend on its neighbours."""
    digest = hashlib.sha256(f"{seed}\n{question}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFF_FFFF
