"""One exchange with an OpenAI-compatible server: a request goes out, and a completion or a telling error comes back."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk

from steer_llama.chat.retrying import TryAgainError, asked_to_wait, may_pass
from steer_llama.chat.server_errors import fatal, refusal, server_message, short, shown_question, shown_url
from steer_llama.chat.wire import Completion, MalformedReplyError, read_body, read_chunks, request_body
from steer_llama.config import ServerSettings
from steer_llama.errors import ConfigError, EndpointError
from steer_llama.records import ChatRequest

_CONNECT_SECONDS = 20.0
"""An answer may take long; a host that does not even take the call is not there."""
_PATH = "/chat/completions"
_NO_KEY = "no-key-was-given"
"""Local servers want no key, but the SDK wants one."""


class RefusedError(Exception):
    """The server will not answer this very request, however often it is asked."""


class UnusableReplyError(TryAgainError):
    """The server sent something, but no answer: worth another try, though not so many as an overload."""


class Server:
    """The SDK's client, and what its errors mean."""

    def __init__(self, name: str, settings: ServerSettings, key: str | None = None) -> None:
        """Open no connection yet.

        Raises:
            ConfigError: ``base_url`` is no http(s) address, or the key cannot stand in an HTTP header.
        """
        if settings.base_url is None or settings.model is None:
            raise ConfigError(f"{name}: an OpenAI-compatible server needs 'base_url' and 'model'.")
        if not settings.base_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{name}: base_url {shown_url(settings.base_url)!r}: expected an address like http://host:8000/v1."
            )
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ConfigError(f"{name}: the key holds characters that no HTTP header may hold; copy it once more.")
        self._settings = settings
        self._key = key or _NO_KEY
        # Retries are ours: the SDK's do not cover broken replies, and it passes over a Retry-After above a minute.
        patience = httpx2.Timeout(settings.timeout, connect=min(settings.timeout, _CONNECT_SECONDS))
        try:
            self._client = openai.OpenAI(api_key=self._key, base_url=settings.base_url, timeout=patience, max_retries=0)
        except (httpx2.InvalidURL, ValueError) as error:
            raise ConfigError(f"{name}: base_url is no address ({error}), expected http://host:8000/v1.") from None
        self.where = f"{name} (model {settings.model!r} at {shown_url(settings.base_url)})"

    def send(self, request: ChatRequest) -> Completion:
        """Ask once.

        Raises:
            TryAgainError: it failed in a way that may pass.
            RefusedError: the server refuses this request.
            EndpointError: the server refuses us altogether: the key, the model's name, the account.
        """
        key, asked = self._key, shown_question(request)
        # ``from None``: the causes hold what the server said word for word, and some servers repeat the key.
        try:
            return self._whole(self._exchange(request), asked)
        except openai.APIStatusError as error:
            raise self._meaning(error, request) from None
        except openai.APITimeoutError as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                raise TryAgainError("cannot be reached (it does not take the call)", unreachable=True) from None
            raise TryAgainError(f"no answer within {self._settings.timeout:g} s to {asked}") from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
            if isinstance(cause, httpx2.ConnectError):
                raise TryAgainError(f"cannot be reached ({short(str(cause), key)})", unreachable=True) from None
            raise TryAgainError(f"the line broke at {asked} ({short(str(cause or error), key)})") from None
        except (openai.OpenAIError, MalformedReplyError, ValueError) as error:
            raise UnusableReplyError(f"no answer to {asked}: {short(str(error), key)}") from None

    def models(self) -> list[str] | None:
        """The models that the server says it has; ``None`` where it does not say.

        Raises:
            EndpointError: it refuses the key, or cannot be reached.
        """
        try:
            return [str(model.id) for model in self._client.models.list()]
        except openai.APIStatusError as error:
            if error.status_code == 401:
                raise EndpointError(f"{self.where}: {fatal(error, self._key)}") from None
            return None  # 403 among others: a key may be good for chats and not for this list
        except openai.APIConnectionError as error:
            cause = short(str(error.__cause__ or error), self._key)
            raise EndpointError(
                f"{self.where}: cannot be reached ({cause}). Check that the server is up and that 'base_url' is right."
            ) from None
        except (openai.OpenAIError, AttributeError, TypeError, ValueError):
            return None  # something answers, but not with a list of models

    def _exchange(self, request: ChatRequest) -> Completion:
        # The SDK's `post` and not its `create`, which looks through every request for keys to rename (a quarter of
        # the time that a call takes us) and has no place for fields that OpenAI does not know.
        body = request_body(request, self._settings)
        if self._settings.stream:
            kind = openai.Stream[ChatCompletionChunk]
            with self._client.post(
                _PATH, cast_to=ChatCompletionChunk, body=body, stream=True, stream_cls=kind
            ) as chunks:
                return read_chunks(chunk.model_dump(warnings=False) for chunk in self._unless_failed(chunks))
        response = self._client.post(_PATH, cast_to=httpx2.Response, body=body)
        return read_body(self._json(response.text, response.headers.get("content-type", "")))

    def _meaning(self, error: openai.APIStatusError, request: ChatRequest) -> Exception:
        """What a status other than 2xx means for this request."""
        if may_pass(error):
            return TryAgainError(refusal(error, request, self._key, "did not answer"), asked_to_wait(error))
        if reason := fatal(error, self._key):
            return EndpointError(f"{self.where}: {reason}")
        return RefusedError(refusal(error, request, self._key, "refused"))

    def _whole(self, completion: Completion, asked: str) -> Completion:
        """The completion, if it holds an answer."""
        if completion.finish_reason == "content_filter" and not completion.text:
            raise RefusedError(f"a content filter holds back the answer to {asked}")
        if completion.text is None:
            raise MalformedReplyError(f"its content is null (finish_reason {completion.finish_reason!r})")
        return completion

    def _json(self, text: str, content_type: str) -> Any:
        """The reply's JSON; proxies put their error pages, and errors as JSON, under status 200."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            kind = content_type.partition(";")[0] or "no content type"
            raise MalformedReplyError(
                f"the reply is not JSON but {short(text, self._key)!r} ({kind}). "
                "Check 'base_url' (it usually ends in /v1)"
            ) from None
        if isinstance(value, dict) and not value.get("choices"):
            self._raise_said(value.get("error"))
        return value

    def _unless_failed(self, chunks: Any) -> Iterator[Any]:
        """The pieces of a stream; an error in the middle of it is no piece."""
        for chunk in chunks:
            if not isinstance(chunk, ChatCompletionChunk):
                raise MalformedReplyError(f"a piece of the stream is a JSON {type(chunk).__name__}")
            self._raise_said(getattr(chunk, "error", None))
            yield chunk

    def _raise_said(self, error: Any) -> None:
        if said := server_message(error, self._key):
            raise MalformedReplyError(f"the server said {said!r}")
