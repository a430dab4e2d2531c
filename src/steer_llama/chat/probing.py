"""Finding out what a chat endpoint can do, with a handful of small requests."""

import json
import time
from dataclasses import dataclass
from typing import Any, Literal

from steer_llama.chat.openai_compatible import OpenAICompatibleEndpoint
from steer_llama.chat.prompts import build_messages, chat_request
from steer_llama.config import Sampling
from steer_llama.errors import EndpointError
from steer_llama.records import ChatReply, ChatRequest, Message

_QUESTION = "What is good about a walk in the rain? Answer in one sentence."
_COLOUR = "Name a colour, and a number from 1 to 9 that goes with it. Answer as JSON with the keys colour and number."
_COLOUR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"type": "string"}, "number": {"type": "integer"}},
    "required": ["colour", "number"],
    "additionalProperties": False,
}
_NUMBER = "How hot is fire, on a scale from 0 (ice) to 100 (the sun)? Answer with the number alone."
_TOKENS = 64
"""Of an answer, unless less will do."""


@dataclass(frozen=True)
class Finding:
    """Whether something works, and what was seen."""

    works: bool
    seen: str


@dataclass(frozen=True)
class Probe:
    """What an endpoint can do."""

    latency: float
    """Seconds until the whole answer to one question was there."""
    answer: str
    thinks: bool
    """Whether it sent thoughts beside the answer."""
    structured: Finding
    logprobs: Finding
    numbers: Literal["whole", "digits", "unknown"]
    """Whether its tokenizer writes 75 as one token; told from log probabilities."""
    continues: Finding
    """Whether it goes on with an answer that was begun, which reading numbers digit by digit needs."""
    seeds: Finding
    calls: int


class Prober:
    """Asks one endpoint."""

    def __init__(self, endpoint: OpenAICompatibleEndpoint, sampling: Sampling) -> None:
        self._endpoint = endpoint
        self._sampling = sampling.model_copy(update={"max_tokens": max(_TOKENS, sampling.max_tokens)})
        self._thinks = True  # until it is seen not to
        self._calls = 0

    def probe(self) -> Probe:
        """Ask everything.

        Raises:
            EndpointError: it does not even answer a plain question.
        """
        self._endpoint.check_access()
        began = time.monotonic()
        plain = self._ask(self._request(_QUESTION))
        latency = time.monotonic() - began
        if isinstance(plain, str):
            raise EndpointError(plain)
        self._thinks = bool(plain.reasoning)
        logprobs, numbers = self._logprobs()
        return Probe(
            latency=latency,
            answer=plain.text,
            thinks=self._thinks,
            structured=self._structured(),
            logprobs=logprobs,
            numbers=numbers,
            continues=self._continues(),
            seeds=self._seeds(),
            calls=self._calls,
        )

    def _structured(self) -> Finding:
        reply = self._ask(self._request(_COLOUR, answer_schema=_COLOUR_SCHEMA))
        if isinstance(reply, str):
            return Finding(works=False, seen=reply)
        try:
            value = json.loads(reply.text)
            fits = set(value) == {"colour", "number"} and isinstance(value["number"], int)
        except (ValueError, TypeError, KeyError):
            fits = False
        return Finding(works=fits, seen=_shown(reply))

    def _logprobs(self) -> tuple[Finding, Literal["whole", "digits", "unknown"]]:
        reply = self._ask(self._request(_NUMBER, 4, top_logprobs=20))
        if isinstance(reply, str):
            return Finding(works=False, seen=reply), "unknown"
        if not any(step.top for step in reply.steps):
            return Finding(works=False, seen="the reply holds none"), "unknown"
        written = [choice.token.strip() for step in reply.steps for choice in step.top]
        numbers = [token for token in written if token.isascii() and token.isdigit()]
        finding = Finding(works=True, seen=f"{len(reply.steps[0].top)} a token")
        if not numbers:
            return finding, "unknown"
        return finding, "whole" if any(len(token) > 1 for token in numbers) else "digits"

    def _continues(self) -> Finding:
        begun: Message = {"role": "assistant", "content": "One, two, three,"}
        counted = (*build_messages("", (), "Count from one to five in words."), begun)
        reply = self._ask(self._request_of(counted, 4, temperature=0, continues=True))
        if isinstance(reply, str):
            return Finding(works=False, seen=reply)
        return Finding(works=reply.text.strip().lower().startswith("four"), seen=_shown(reply))

    def _seeds(self) -> Finding:
        replies = [self._ask(self._request(_QUESTION, 16, temperature=1.0, seed=seed)) for seed in (11, 11, 12)]
        texts = [reply if isinstance(reply, str) else reply.text for reply in replies]
        for reply in replies:
            if isinstance(reply, str):
                return Finding(works=False, seen=reply)
        if texts[0] != texts[1]:
            return Finding(works=False, seen="the same seed gave two answers")
        if texts[0] == texts[2]:
            return Finding(works=False, seen="two seeds gave the same answer")
        return Finding(works=True, seen="the same seed gave the same answer, another seed another")

    def _request(self, question: str, max_tokens: int = _TOKENS, **more: Any) -> ChatRequest:
        return self._request_of(build_messages("", (), question), max_tokens, **more)

    def _request_of(self, messages: tuple[Message, ...], max_tokens: int, **more: Any) -> ChatRequest:
        """``max_tokens`` is enough for the answer; a model that thinks gets all that its settings allow."""
        drawn: dict[str, Any] = {name: more.pop(name) for name in ("temperature", "seed") if name in more}
        if not self._thinks:
            drawn["max_tokens"] = max_tokens
        return chat_request(f"probe {self._calls}", messages, self._sampling.model_copy(update=drawn), **more)

    def _ask(self, request: ChatRequest) -> ChatReply | str:
        """The reply, or why there is none."""
        self._calls += 1
        outcome = self._endpoint.ask(request)
        return outcome if isinstance(outcome, ChatReply) else outcome.reason


def _shown(reply: ChatReply) -> str:
    if not reply.text and reply.reasoning:
        return f"nothing but thoughts in {reply.completion_tokens or 'all its'} tokens"
    text = " ".join(reply.text.split())
    return repr(text if len(text) <= 60 else text[:60] + "…")
