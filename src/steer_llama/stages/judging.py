"""Asking a model for scores: in random order, each judgement once, and all that arrives is kept."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from steer_llama.chat import Endpoint, build_messages, chat_request
from steer_llama.chat.judging import (
    ANSWER_SCHEMA,
    Distribution,
    Judgement,
    Method,
    Score,
    flaw_in,
    misfit,
    over_repeats,
    read_reply,
    remarks,
    repair_of,
    structured_prompt,
    why_silent,
)
from steer_llama.config import JudgeSettings, Sampling
from steer_llama.errors import ConfigError, EndpointError
from steer_llama.progress import Reporter
from steer_llama.records import ChatFailure, ChatReply, ChatRequest
from steer_llama.stages.arms import server_identity
from steer_llama.stages.asking import Correspondence
from steer_llama.stages.exploring import Explorer

TOP_LOGPROBS = 20
"""What servers give at most, by default."""
_KEPT_STEPS = 8
"""Places of a reply that are journalled: white space, and a number."""
_FIRST = 3
"""Judgements that may be refused before the judge itself is taken for unusable."""
_METHODS: tuple[Method, ...] = ("logprobs", "structured", "text")


@dataclass(frozen=True)
class _Task:
    """One judgement to get: a prompt, and which of its repeats."""

    prompt: str
    repeat: int


class JudgeModel:
    """Scores by the model behind ``judge.endpoint``. What a run was told decides all: a resumed one does the same."""

    def __init__(self, settings: JudgeSettings, letters: Correspondence, reporter: Reporter) -> None:
        """``letters``: the journal of the judge's replies.

        Raises:
            ConfigError: the settings have no endpoint.
        """
        endpoint = settings.endpoint
        if endpoint is None:
            raise ConfigError("judge.endpoint is missing: give the address and the model of the judge.")
        self.name = f"judge ({endpoint.model})"
        self._endpoint = endpoint
        self._settings = settings
        self._letters = letters
        self._reporter = reporter
        self._identity = server_identity(endpoint)
        self._method: Method | None = None
        # Greedy and one token long: what counts is what could have come.
        going_on = self._sampling(0).model_copy(update={"max_tokens": 1})
        self._explorer = Explorer(self.name, self._identity, going_on, TOP_LOGPROBS, letters, self._open, reporter)

    def score(self, prompts: Sequence[str], title: str = "judging") -> dict[str, Score]:
        """A score for every prompt; equal prompts are judged once.

        Raises:
            ConfigError: the first reply shows that the judge cannot be used as it is set up.
            EndpointError: the endpoint failed; what had arrived is kept.
            BudgetError: the budget allows no further call.
        """
        repeats = range(self._settings.repeats)
        tasks = [_Task(prompt, repeat) for prompt in dict.fromkeys(prompts) for repeat in repeats]
        if not tasks:
            return {}
        # Neither the arm nor the place in the file is to be seen in when an answer is judged.
        random.Random(self._settings.seed).shuffle(tasks)
        method = self._method = self._method or self._chosen(tasks)
        requests = {task: self._request(task, method) for task in tasks}
        heard = self._letters.ask(self._open, list(requests.values()), title)
        known = heard.replies
        replies = {task: known[request.key] for task, request in requests.items() if request.key in known}
        more: Mapping[_Task, Mapping[str, Distribution]] = {}
        if method == "structured":
            replies = self._repaired(requests, replies)
        elif method == "logprobs":
            begun = {task: (requests[task], reply) for task, reply in replies.items()}
            more = self._explorer.explore(begun, self._settings.min_mass)
        judgements: dict[tuple[str, int], Judgement] = {}
        for task, request in requests.items():
            if task in replies:
                judged = read_reply(method, replies[task], more.get(task, {}), self._settings.min_mass)
            else:
                judged = Judgement.unscored(f"the judge's server refused it ({heard.refused[request.key].reason})")
            judgements[task.prompt, task.repeat] = judged
        return {prompt: over_repeats([judgements[prompt, repeat] for repeat in repeats]) for prompt in set(prompts)}

    def _open(self) -> Endpoint:
        return _Briefly(self._letters.server("judge", self._endpoint))

    def _open_to_try(self) -> Endpoint:
        """The judge, which may refuse what it cannot do."""
        self._letters.server("judge", self._endpoint).forgive()
        return self._open()

    def _request(self, task: _Task, method: Method) -> ChatRequest:
        prompt = structured_prompt(task.prompt) if method == "structured" else task.prompt
        return chat_request(
            self._identity,
            build_messages("", (), prompt),
            self._sampling(task.repeat),
            answer_schema=ANSWER_SCHEMA if method == "structured" else None,
            top_logprobs=TOP_LOGPROBS if method == "logprobs" else 0,
        )

    def _sampling(self, repeat: int) -> Sampling:
        sampling = self._endpoint.sampling
        changed = {"temperature": 0.0} if repeat == 0 else {"seed": sampling.seed + repeat}
        return sampling.model_copy(update=changed)

    def _chosen(self, tasks: Sequence[_Task]) -> Method:
        """The method that the first judgement shows to work, which is said with the reason."""
        why_not: dict[Method, str] = {}
        for task in tasks[:_FIRST]:
            # A server may refuse one answer as too long; then the next one shows what it can do.
            method, why_not = self._try_methods(task)
            if method is not None:
                if self._settings.method == "auto":
                    self._reporter.note(f"{self.name}: {remarks(method, why_not)}")
                return method
        told = "; ".join(f"{method}: {reason}" for method, reason in why_not.items())
        if self._settings.method == "auto":
            raise EndpointError(f"{self.name}: it cannot be asked in any way. {told}.")
        raise ConfigError(
            f"{self.name}: judge.method is {self._settings.method!r}, but {told}. Set judge.method to auto."
        )

    def _try_methods(self, task: _Task) -> tuple[Method | None, dict[Method, str]]:
        """The first method that works for this judgement, and why those before it do not."""
        wanted = self._settings.method
        why_not: dict[Method, str] = {}
        for method in _METHODS if wanted == "auto" else (wanted,):
            request = self._request(task, method)
            heard = self._letters.ask(self._open_to_try, [request], "asking the judge a first time")
            if refused := heard.refused.get(request.key):
                why_not[method] = f"the server refuses it ({refused.reason})"
                continue
            reply = heard.replies[request.key]
            self._stop_if_cut(reply)
            reason = misfit(method, reply, self._settings.min_mass)
            # A method that was asked for by name stays, unless nothing could ever be read by it.
            if reason is None or (wanted != "auto" and (method != "logprobs" or reply.steps)):
                return method, why_not
            why_not[method] = reason
        return None, why_not

    def _stop_if_cut(self, reply: ChatReply) -> None:
        if reply.finish_reason == "length" and (silent := why_silent(reply)):
            raise ConfigError(
                f"{self.name}: in its first reply {silent}, and would be in most others. Raise "
                f"judge.endpoint.sampling.max_tokens (now {self._endpoint.sampling.max_tokens}), or switch its "
                "thoughts off, for many servers with judge.endpoint.extra_body: "
                "{chat_template_kwargs: {enable_thinking: false}}."
            )

    def _repaired(
        self, requests: Mapping[_Task, ChatRequest], replies: Mapping[_Task, ChatReply]
    ) -> dict[_Task, ChatReply]:
        """The replies, where one does not keep to the schema with what the judge said when told so."""
        again: dict[_Task, ChatRequest] = {}
        for task, reply in replies.items():
            flaw = flaw_in(reply.text) if reply.text.strip() else None
            if flaw is not None:
                messages = repair_of(requests[task].messages, reply.text, flaw)
                sampling = self._sampling(task.repeat)
                again[task] = chat_request(self._identity, messages, sampling, answer_schema=ANSWER_SCHEMA)
        heard = self._letters.ask(self._open, list(again.values()), "judging: asking for readable replies")
        mended = {task: heard.replies[request.key] for task, request in again.items() if request.key in heard.replies}
        return {task: mended.get(task, reply) for task, reply in replies.items()}


class _Briefly:
    """An endpoint whose replies keep the log probabilities of their first places only: journals would be huge."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def name(self) -> str:
        return self._endpoint.name

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply | ChatFailure]:
        for outcome in self._endpoint.answer(requests):
            if isinstance(outcome, ChatReply) and len(outcome.steps) > _KEPT_STEPS:
                yield outcome.model_copy(update={"steps": outcome.steps[:_KEPT_STEPS]})
            else:
                yield outcome
