"""OpenAI's chat-completion format: a request as its fields, and a reply (whole or in pieces) as a `Completion`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from steer_llama.chat.thoughts import split_thoughts, steps_of_answer
from steer_llama.config import ServerSettings, explain
from steer_llama.records import ChatRequest, TokenChoice, TokenStep

_BROKEN_OFF = frozenset({"abort", "error"})
"""Finish reasons of answers that the server could not finish (it is being stopped, say)."""
_ROUNDING = 0.01
"""In nats, how far above 0 rounding may put a logarithm."""


class MalformedReplyError(Exception):
    """A reply that is no chat completion; the text says what is wrong."""


@dataclass(frozen=True)
class Completion:
    """What a server answered."""

    text: str | None
    """Without the thoughts; ``None`` where the server sent none."""
    reasoning: str
    finish_reason: str
    model: str | None
    steps: tuple[TokenStep, ...]
    prompt_tokens: int | None
    completion_tokens: int | None


class _Lenient(BaseModel):
    """Only what is read is checked: servers differ in the rest."""


class _Choice(_Lenient):
    token: str
    logprob: float

    @property
    def is_sound(self) -> bool:
        """Whether it is a logarithm of a probability; some servers send NaN, or what rounding makes of 0."""
        return math.isfinite(self.logprob) and self.logprob < _ROUNDING


class _Place(_Choice):
    top_logprobs: list[_Choice] | None = None


class _Logprobs(_Lenient):
    content: list[_Place] | None = None


class _Part(_Lenient):
    text: str | None = None


class _Message(_Lenient):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    @property
    def text(self) -> str | None:
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.refusal if self.content is None else self.content


class _Answer(_Lenient):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(_Lenient):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @field_validator("prompt_tokens", "completion_tokens", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        """A count, or nothing: a whole answer is not to be thrown away for an odd one."""
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


class _Body(_Lenient):
    choices: list[_Answer] = Field(default_factory=list)
    model: str | None = None
    usage: _Usage | None = None

    @field_validator("model", mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        return value if isinstance(value, str) else None

    @field_validator("usage", mode="before")
    @classmethod
    def _usage(cls, value: Any) -> Any:
        return value if isinstance(value, dict | _Usage) else None


def request_body(request: ChatRequest, settings: ServerSettings) -> dict[str, Any]:
    """The JSON of a request."""
    fields: dict[str, Any] = {
        "model": settings.model,
        "messages": list(request.messages),
        "temperature": request.temperature,
        "top_p": request.top_p,
        settings.max_tokens_key: request.max_tokens,
        "seed": request.seed,
    }
    if request.repetition_penalty != 1:
        fields["repetition_penalty"] = request.repetition_penalty
    if request.top_logprobs:
        fields |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.answer_schema is not None:
        schema = _for_openai(request.answer_schema) if settings.preset == "openai" else request.answer_schema
        shape = {"name": "answer", "strict": True, "schema": schema}
        fields["response_format"] = {"type": "json_schema", "json_schema": shape}
    if request.continues:
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    if settings.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return {name: value for name, value in fields.items() if name not in settings.omit} | settings.extra_body


def _for_openai(schema: Any) -> Any:
    """The schema without the lengths of texts, which OpenAI's strict mode refuses; they only help small models."""
    if isinstance(schema, dict):
        return {key: _for_openai(value) for key, value in schema.items() if key not in {"minLength", "maxLength"}}
    return [_for_openai(value) for value in schema] if isinstance(schema, list) else schema


def read_body(value: Any) -> Completion:
    """A whole reply.

    Raises:
        MalformedReplyError: it is no chat completion, or has no choices.
    """
    body = _checked(value)
    if not body.choices:
        raise MalformedReplyError("the reply has no choices")
    answer = body.choices[0]
    message = answer.message or _Message()
    return _completion(body, message, answer.finish_reason or "unknown", answer.logprobs)


def read_chunks(chunks: Iterable[Any]) -> Completion:
    """A streamed reply.

    Raises:
        MalformedReplyError: a piece is none, or the stream ended before the answer did.
    """
    texts: dict[str, list[str]] = {"content": [], "reasoning": []}
    places: list[_Place] = []
    finish_reason: str | None = None
    model, usage = None, None
    for chunk in chunks:
        body = _checked(chunk)
        model, usage = body.model or model, body.usage or usage
        if not body.choices:
            continue
        answer = body.choices[0]
        delta = answer.delta or _Message()
        if delta.text is not None:
            texts["content"].append(delta.text)
        texts["reasoning"].append(delta.reasoning_content or delta.reasoning or "")
        places += (answer.logprobs.content if answer.logprobs else None) or []
        finish_reason = answer.finish_reason or finish_reason
    if finish_reason is None:
        raise MalformedReplyError("the stream ended before the answer did")
    message = _Message(
        content="".join(texts["content"]) if texts["content"] else None, reasoning="".join(texts["reasoning"]) or None
    )
    return _completion(_Body(model=model, usage=usage), message, finish_reason, _Logprobs(content=places))


def _checked(value: Any) -> _Body:
    if not isinstance(value, dict):
        raise MalformedReplyError(f"the reply is a JSON {type(value).__name__}, expected an object with 'choices'")
    try:
        return _Body.model_validate(value)
    except ValidationError as error:
        raise MalformedReplyError(f"the reply is no chat completion: {explain(error, _Body)}") from None


def _completion(body: _Body, message: _Message, finish_reason: str, logprobs: _Logprobs | None) -> Completion:
    if finish_reason in _BROKEN_OFF:
        raise MalformedReplyError(f"the server broke the answer off (finish_reason {finish_reason!r})")
    thoughts = message.reasoning_content or message.reasoning or ""
    text = message.text
    if text is not None and not thoughts:
        thoughts, text = split_thoughts(text)
    if text is None and (thoughts or finish_reason == "length"):
        text = ""  # all of its tokens went into thoughts
    places = (logprobs.content if logprobs else None) or []
    steps = [TokenStep(token=_whole(place.token), top=_choices(place)) for place in places]
    usage = body.usage or _Usage()
    return Completion(
        text=None if text is None else _whole(text),
        reasoning=_whole(thoughts),
        finish_reason=_whole(finish_reason),
        model=None if body.model is None else _whole(body.model),
        steps=steps_of_answer(steps, text or "", thought=bool(thoughts)),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
    )


def _choices(place: _Place) -> tuple[TokenChoice, ...]:
    return tuple(
        TokenChoice(token=_whole(choice.token), logprob=choice.logprob)
        for choice in place.top_logprobs or ()
        if choice.is_sound
    )


def _whole(text: str) -> str:
    """Half an emoji, cut by the token limit, comes as a lone surrogate, which no UTF-8 file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
