"""A chat model behind an OpenAI-compatible server: Pi's API, vLLM, llama-server, or a hosted one."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import openai

from steer_llama.chat.server_errors import refusal, short, shown_question, shown_url, why_empty
from steer_llama.chat.workers import answer_many
from steer_llama.config import ArmSettings
from steer_llama.errors import ConfigError, EndpointError
from steer_llama.records import ChatReply, ChatRequest

_NO_KEY = "no-key-was-given"
"""Local servers want no key, but the SDK wants one."""
_MORE_TRIES_IF_EMPTY = 2


class OpenAICompatibleEndpoint:
    """Asks a server, many questions at once; retries what may pass (408, 409, 429, 5xx, time-outs, lost lines)."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        model: str,
        api_key: str | None = None,
        concurrency: int = 8,
        timeout: float = 120.0,
        max_retries: int = 6,
    ) -> None:
        """See `ArmSettings` for the units.

        Raises:
            ConfigError: ``base_url`` is no http(s) address, or the key cannot stand in an HTTP header.
        """
        if urlsplit(base_url).scheme not in {"http", "https"}:
            raise ConfigError(
                f"{name}: base_url {shown_url(base_url)!r}: expected an address like http://host:8000/v1."
            )
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise ConfigError(f"{name}: the key holds characters that no HTTP header may hold; copy it once more.")
        self.name = name
        self._model = model
        self._key = api_key or _NO_KEY
        self._concurrency = concurrency
        self._timeout = timeout
        self._max_retries = max_retries
        self._where = f"{name} (model {model!r} at {shown_url(base_url)})"
        self._client = openai.OpenAI(api_key=self._key, base_url=base_url, timeout=timeout, max_retries=max_retries)

    @classmethod
    def from_settings(cls, arm: ArmSettings) -> Self:
        """The endpoint that an arm of kind ``openai`` describes; the key comes from the environment.

        Raises:
            ConfigError: 'base_url' or 'model' is missing, or the environment variable of the key is not set.
        """
        if arm.base_url is None or arm.model is None:
            raise ConfigError(f"{arm.name}: kind {arm.kind!r} needs 'base_url' and 'model'.")
        key = None
        if arm.api_key_env is not None:
            key = os.environ.get(arm.api_key_env, "").strip()
            if not key:
                raise ConfigError(
                    f"{arm.name}: api_key_env names the environment variable {arm.api_key_env}, which is not set. "
                    f"Set it to the key of {shown_url(arm.base_url)}."
                )
        return cls(
            arm.name,
            base_url=arm.base_url,
            model=arm.model,
            api_key=key,
            concurrency=arm.concurrency,
            timeout=arm.timeout,
            max_retries=arm.max_retries,
        )

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        """See `Endpoint.answer`.

        Raises:
            EndpointError: the key or the model name is wrong, or a request failed after all retries.
        """
        return answer_many(requests, self._ask, self._concurrency)

    def _ask(self, request: ChatRequest) -> ChatReply:
        reason = ""
        for _ in range(1 + min(_MORE_TRIES_IF_EMPTY, self._max_retries)):
            completion = self._send(request)
            choices = getattr(completion, "choices", None)
            if choices and choices[0].message is not None and choices[0].message.content is not None:
                return self._reply(request, completion)
            reason = why_empty(completion, self._key)
        raise EndpointError(f"{self._where}: no answer to {shown_question(request)}: {reason}")

    def _send(self, request: ChatRequest) -> Any:
        extra: dict[str, Any] = {}
        if request.repetition_penalty != 1:
            extra["repetition_penalty"] = request.repetition_penalty
        messages: Any = list(request.messages)
        # ``from None``: the causes hold what the server said word for word, and some servers repeat the key.
        try:
            return self._client.chat.completions.create(
                model=self._model,
                messages=messages,
                temperature=request.temperature,
                top_p=request.top_p,
                max_tokens=request.max_tokens,
                seed=request.seed,
                extra_body=extra or None,
            )
        except openai.APIStatusError as error:
            raise EndpointError(f"{self._where}: {refusal(error, request, self._key, self._max_retries)}") from None
        except openai.APITimeoutError:
            raise EndpointError(
                f"{self._where}: no answer within {self._timeout:g} s to {shown_question(request)}, in {self._tries}. "
                "Raise 'timeout', lower 'concurrency' or 'max_tokens', or try again later."
            ) from None
        except openai.APIConnectionError as error:
            cause = short(str(error.__cause__ or error), self._key)
            raise EndpointError(
                f"{self._where}: cannot be reached ({cause}), in {self._tries}. "
                "Check that the server is up and that 'base_url' is right."
            ) from None
        except (openai.OpenAIError, ValueError) as error:
            raise EndpointError(
                f"{self._where}: the reply is no chat completion ({short(str(error), self._key)}). "
                "Check 'base_url' (it usually ends in /v1)."
            ) from None

    def _reply(self, request: ChatRequest, completion: Any) -> ChatReply:
        choice, usage = completion.choices[0], getattr(completion, "usage", None)
        # Half an emoji, cut by max_tokens, comes as a lone surrogate, which no UTF-8 file can hold.
        text = str(choice.message.content).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return ChatReply(
            key=request.key,
            text=text,
            finish_reason=str(getattr(choice, "finish_reason", None) or "unknown"),
            model=str(getattr(completion, "model", None) or self._model),
            prompt_tokens=getattr(usage, "prompt_tokens", None),
            completion_tokens=getattr(usage, "completion_tokens", None),
        )

    @property
    def _tries(self) -> str:
        return f"{self._max_retries + 1} tries" if self._max_retries else "one try"
