"""A chat model behind an OpenAI-compatible server: Pi's API, vLLM, llama-server, or a hosted one."""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Self

from steer_llama.chat.budget import Budget, Spending, cost_of
from steer_llama.chat.endpoint import Endpoint
from steer_llama.chat.pace import Pace
from steer_llama.chat.prompts import build_messages, chat_request
from steer_llama.chat.retrying import TryAgainError, with_retries
from steer_llama.chat.server import RefusedError, Server, UnusableReplyError
from steer_llama.chat.server_errors import shown_url
from steer_llama.chat.wire import Completion
from steer_llama.chat.workers import Errand, answer_many
from steer_llama.config import Sampling, ServerSettings
from steer_llama.errors import ConfigError, EndpointError
from steer_llama.records import ChatFailure, ChatReply, ChatRequest

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_GIVE_UP_AFTER = 3
"""Requests in a row that fail for good before the endpoint itself is taken for broken."""
_UNUSABLE_TRIES = 3
"""Unusable replies to one request before it is given up: at temperature 0 the seventh is like the third."""
_CHARACTERS_PER_TOKEN = 3.0
"""A cautious estimate, for what a request may use of a budget or a limit."""


class OpenAICompatibleEndpoint:
    """Asks a server, many questions at once, within its pace and our budget; tries again what may pass."""

    def __init__(
        self, name: str, settings: ServerSettings, key: str | None = None, budget: Budget | None = None
    ) -> None:
        """Raises as `Server`."""
        self.name = name
        self._settings = settings
        self._server = Server(name, settings, key)
        self._budget = budget or Budget()
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        self._lock = threading.Lock()
        self._failed_in_a_row = 0
        self._answers_now = False
        self.has_answered = False
        """Whether it ever answered, in this run or an earlier one: then a refusal is a question's own fault."""

    @classmethod
    def from_settings(cls, name: str, settings: ServerSettings, budget: Budget | None = None) -> Self:
        """The endpoint that a section describes; the key comes from the environment.

        Raises:
            ConfigError: the environment variable of the key is not set, or see `__init__`.
        """
        return cls(name, settings, key_of(name, settings), budget)

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply | ChatFailure]:
        """See `Endpoint.answer`.

        Raises:
            EndpointError: the key or the model name is wrong, nobody answers, or several requests in a row failed.
            BudgetError: the budget allows no further call.
        """
        return answer_many([self.errand(requests)])

    def errand(self, requests: Sequence[ChatRequest]) -> Errand:
        """The requests as work that can be under way beside another server's."""
        return Errand(requests, self.ask, self._settings.concurrency)

    def ask(self, request: ChatRequest) -> ChatReply | ChatFailure:
        """Ask one question, with retries. Raises as `answer`."""
        tries = _Tries(request, self._settings, self._server, self._budget, self._pace)
        try:
            completion = with_retries(tries.once, self._settings.max_retries, self._settings.max_wait)
        except TryAgainError as error:
            reason = f"{self._server.where}: {error}{tries.told(error)}"
            if error.unreachable and not self._answers_now:
                raise EndpointError(f"{reason}. Check that the server is up and that 'base_url' is right.") from None
            return self._failed(ChatFailure(key=request.key, reason=reason, permanent=False))
        except RefusedError as error:
            return self._failed(ChatFailure(key=request.key, reason=f"{self._server.where}: {error}", permanent=True))
        with self._lock:
            self._failed_in_a_row, self.has_answered, self._answers_now = 0, True, True
        return tries.reply(completion)

    def forgive(self) -> None:
        """Forget the failures so far: what is asked now is to find out what the server can do."""
        with self._lock:
            self._failed_in_a_row = 0

    def check_access(self, *, may_ask: bool = False) -> None:
        """Find out whether the server can be reached, accepts the key and has the model.

        The list of its models tells most of it at no cost; the rest, where we ``may_ask``, a single token.

        Raises:
            EndpointError: it cannot, or does not.
        """
        models = self._server.models()
        if not may_ask and (not models or self._settings.model in models):
            return
        if models and self._settings.model in models and self._settings.api_key_env is None:
            return
        # A list may be public, and say nothing of the key; and it may lack a name that the server takes all the same
        # (an alias, or whatever llama-server is told).
        hello = chat_request("", build_messages("", (), "Hello"), Sampling(max_tokens=1))
        listed = f" It has {', '.join(models[:5])}{' …' if len(models) > 5 else ''}." if models else ""
        try:
            outcome = self.ask(hello)
        except EndpointError as error:
            raise EndpointError(f"{error}{listed}") from None
        if isinstance(outcome, ChatFailure):
            raise EndpointError(f"{outcome.reason}.{listed}")

    def _failed(self, failure: ChatFailure) -> ChatFailure:
        """Hand the failure on, unless it looks like the endpoint's own."""
        with self._lock:
            self._failed_in_a_row += 1
            in_a_row, has_answered = self._failed_in_a_row, self.has_answered
        if in_a_row >= _GIVE_UP_AFTER and not (failure.permanent and has_answered):
            raise EndpointError(
                f"{failure.reason}. {in_a_row} requests in a row have failed, so no further ones are sent. "
                "Check the server and the settings, and run the same command again."
            )
        return failure


class _Tries:
    """One request, try after try, each within the budget and the pace."""

    def __init__(
        self, request: ChatRequest, settings: ServerSettings, server: Server, budget: Budget, pace: Pace
    ) -> None:
        self._request = request
        self._settings = settings
        self._server = server
        self._budget = budget
        self._pace = pace
        self._calls = 0
        self._unusable = 0
        characters = sum(len(message["content"]) for message in request.messages)
        self._prompt_tokens = 8 + int(characters / _CHARACTERS_PER_TOKEN)
        self._most = self._spending(self._prompt_tokens, request.max_tokens)

    def once(self) -> Completion:
        """One try. Raises as `Server.send`, and `BudgetError`."""
        self._budget.reserve(self._most)
        used = Spending()
        try:
            self._pace.wait(self._most.tokens)
            self._calls += 1
            used = Spending(calls=1)
            completion = self._server.send(self._request)
            used = self._spending(*self._tokens_of(completion))
        except UnusableReplyError as error:
            used = self._spending(self._prompt_tokens, 0)
            self._unusable += 1
            raise TryAgainError(str(error), final=self._unusable >= _UNUSABLE_TRIES) from None
        except TryAgainError as error:
            if error.wait is not None and error.wait <= self._settings.max_wait:
                self._pace.pause(error.wait)
            raise
        finally:
            self._budget.settle(self._most, used)
        return completion

    def reply(self, completion: Completion) -> ChatReply:
        """The completion as the reply to the request."""
        used = self._spending(*self._tokens_of(completion))
        return ChatReply(
            key=self._request.key,
            text=completion.text or "",
            finish_reason=completion.finish_reason,
            model=completion.model or str(self._settings.model),
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            reasoning=completion.reasoning,
            steps=completion.steps,
            calls=self._calls,
            tokens=used.tokens,
            cost=used.cost if self._settings.price else None,
        )

    def _tokens_of(self, completion: Completion) -> tuple[int, int]:
        """Tokens of the prompt and of the answer, estimated where the server does not count."""
        written = len(completion.text or "") + len(completion.reasoning)
        prompt, answer = completion.prompt_tokens, completion.completion_tokens
        return (
            self._prompt_tokens if prompt is None else prompt,
            1 + int(written / _CHARACTERS_PER_TOKEN) if answer is None else answer,
        )

    def told(self, error: TryAgainError) -> str:
        """How often it was tried, and why not more often."""
        tries = f", in {self._calls} tries" if self._calls > 1 else ", in one try"
        most = self._settings.max_wait
        too_long = error.wait is not None and error.wait > most
        return tries + (f"; it asks to wait {error.wait:g} s, and 'max_wait' is {most:g} s" if too_long else "")

    def _spending(self, prompt_tokens: int, completion_tokens: int) -> Spending:
        cost = cost_of(self._settings.price, prompt_tokens, completion_tokens)
        return Spending(1, prompt_tokens + completion_tokens, cost or 0.0)


def answer_together(asked: Sequence[tuple[Endpoint, Sequence[ChatRequest]]]) -> Iterator[ChatReply | ChatFailure]:
    """Ask several endpoints: those behind servers at the same time, the others one after the other.

    Raises:
        EndpointError: one of them failed; the others are asked nothing further.
        BudgetError: the budget allows no further call.
    """
    others = [
        endpoint.answer(requests) for endpoint, requests in asked if not isinstance(endpoint, OpenAICompatibleEndpoint)
    ]
    servers = [e.errand(requests) for e, requests in asked if isinstance(e, OpenAICompatibleEndpoint)]
    yield from answer_many(servers)
    for replies in others:
        yield from replies


def key_of(name: str, settings: ServerSettings) -> str | None:
    """The key, out of the environment; ``None`` where the server wants none.

    Raises:
        ConfigError: the variable is not set.
    """
    if settings.api_key_env is None:
        return None
    variable = settings.api_key_env
    if not _VARIABLE.fullmatch(variable):
        raise ConfigError(
            f"{name}: api_key_env is no name of an environment variable (like PI_API_KEY). If it is the key itself, "
            "take it out of the file, put it into a variable, and give that one's name."
        )
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"{name}: api_key_env names the environment variable {variable}, which is not set. "
            f"Set it to the key of {shown_url(settings.base_url or '')}."
        )
    return key
