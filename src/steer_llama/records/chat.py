"""What goes to a chat model and what comes back."""

from typing import Any

from steer_llama.records.base import Message, Record


class TokenChoice(Record):
    """A token that could have come, and how likely it was."""

    token: str
    logprob: float
    """Natural logarithm of its probability."""


class TokenStep(Record):
    """One place of an answer: the token that was drawn, and the likeliest ones."""

    token: str
    top: tuple[TokenChoice, ...]
    """Likeliest first, as many as were asked for (the drawn one among them, or not)."""


class ChatRequest(Record):
    """One question to one chat model, ready to send."""

    key: str
    """Identifies the answer: same key, same request."""
    messages: tuple[Message, ...]
    temperature: float
    top_p: float
    repetition_penalty: float
    max_tokens: int
    seed: int
    answer_schema: dict[str, Any] | None = None
    """JSON schema that the answer has to follow (structured output)."""
    top_logprobs: int = 0
    """How many of the likeliest tokens are wanted at each place of the answer; 0 asks for none."""
    continues: bool = False
    """The last message is the beginning of the assistant's answer, which is to be gone on with."""


class ChatReply(Record):
    """What came back for a `ChatRequest`."""

    key: str
    text: str
    """The answer, without the model's thoughts."""
    finish_reason: str
    """``stop``, ``length``, or the endpoint's own word."""
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """Tokens that were written, thoughts included."""
    reasoning: str = ""
    """A reasoning model's thoughts (``reasoning_content``, ``<think>``), kept apart from the answer."""
    steps: tuple[TokenStep, ...] = ()
    """The answer's places (not the thoughts'), where log probabilities were asked for and given."""
    calls: int = 1
    """HTTP requests that it took, retries included; 0 for an answer that no server gave."""
    tokens: int = 0
    """Tokens of prompt and answer that a budget counts; an estimate where the server does not count them."""
    cost: float | None = None
    """In the currency of the endpoint's price; ``None`` where no price is set."""


class ChatFailure(Record):
    """A `ChatRequest` that got no answer, while others may."""

    key: str
    reason: str
    permanent: bool
    """The server refused this very request (its content, its length): asking again would not help."""
