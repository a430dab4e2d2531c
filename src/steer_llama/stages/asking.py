"""Asking chat models with a memory: every answer is journalled when it arrives and never asked for again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from steer_llama.chat import Budget, Endpoint, Journal, OpenAICompatibleEndpoint, answer_together, spent_on
from steer_llama.config import BudgetSettings, ServerSettings
from steer_llama.errors import EndpointError
from steer_llama.progress import Reporter
from steer_llama.records import ChatFailure, ChatReply, ChatRequest, as_json
from steer_llama.stages.journalled import journalled

_NAMED = 3
"""Failures that an error names."""


@dataclass(frozen=True)
class Heard:
    """What came back."""

    replies: dict[str, ChatReply]
    """By the request's key."""
    refused: dict[str, ChatFailure]
    """Requests that have no answer, by key: the server refuses them, or they may be done without."""
    asked_now: int


@dataclass(frozen=True)
class Ask:
    """Requests, and the endpoint that they go to (opened only when something has to be asked)."""

    open_endpoint: Callable[[], Endpoint]
    requests: Sequence[ChatRequest]


class Correspondence:
    """A journal of replies, and the budget that further ones are paid from."""

    def __init__(
        self, journal: Journal, reporter: Reporter, budget: BudgetSettings, others: Iterable[Path] = ()
    ) -> None:
        """``others``: journals of the same run, whose replies were paid from the same budget."""
        self._journal = journal
        self._reporter = reporter
        self.known = {reply.key: reply for reply in journalled(journal, ChatReply)}
        elsewhere = [spent_on(_replies_in(path)) for path in others if path != journal.path]
        spent = spent_on(self.known.values())
        for more in elsewhere:
            spent = spent.plus(more)
        self.budget = Budget(budget, spent)
        self._servers: dict[str, OpenAICompatibleEndpoint] = {}

    def server(self, name: str, settings: ServerSettings) -> OpenAICompatibleEndpoint:
        """The model behind a server, paid from this budget: one endpoint a name, so that its pace holds throughout.

        Raises as `OpenAICompatibleEndpoint.from_settings`.
        """
        if name not in self._servers:
            self._servers[name] = OpenAICompatibleEndpoint.from_settings(name, settings, self.budget)
            self._servers[name].has_answered = bool(self.known)
        return self._servers[name]

    def ask(self, open_endpoint: Callable[[], Endpoint], requests: Sequence[ChatRequest], title: str) -> Heard:
        """The replies to ``requests``: from the journal, or asked for now. Raises as `ask_together`."""
        return self.ask_together([Ask(open_endpoint, requests)], title)

    def ask_together(self, asks: Sequence[Ask], title: str, spare: int = 0, without: str = "") -> Heard:
        """The replies to all requests; endpoints behind servers are asked at the same time.

        Args:
            asks: who is asked what.
            title: what the progress says.
            spare: requests that may fail for other reasons than a refusal.
            without: what an error adds: how to do without those that failed.

        Raises:
            EndpointError: an endpoint failed, or more requests than that did; the rest is journalled.
            BudgetError: the budget allows no further call.
            StorageError: the journal cannot be written.
        """
        requests = [request for ask in asks for request in ask.requests]
        missing = self._missing(asks)
        left = sum(len(own) for _, own in missing)
        failures: list[ChatFailure] = []
        if left:
            opened = [(ask.open_endpoint(), own) for ask, own in missing if own]
            with self._reporter.task(title, len(requests), "answers", len(requests) - left) as advance:
                for outcome in answer_together(opened):
                    if isinstance(outcome, ChatFailure):
                        failures.append(outcome)
                    else:
                        self._keep(outcome)
                    advance(1)
            passing = [failure for failure in failures if not failure.permanent]
            if len(passing) > spare:
                raise EndpointError(_unanswered(passing, len(requests)) + without)
        return Heard(
            {request.key: self.known[request.key] for request in requests if request.key in self.known},
            {failure.key: failure for failure in failures},
            left,
        )

    def _missing(self, asks: Sequence[Ask]) -> list[tuple[Ask, list[ChatRequest]]]:
        """What is not known yet; a request that stands in two of them (two arms that are one model) is asked once."""
        seen: set[str] = set()
        missing: list[tuple[Ask, list[ChatRequest]]] = []
        for ask in asks:
            own = {request.key: request for request in ask.requests if request.key not in self.known}
            missing.append((ask, [request for key, request in own.items() if key not in seen]))
            seen |= own.keys()
        return missing

    def _keep(self, reply: ChatReply) -> None:
        self._journal.append(as_json(reply))
        self.known[reply.key] = reply


@contextmanager
def correspondence(
    path: Path, reporter: Reporter, budget: BudgetSettings, others: Iterable[Path] = ()
) -> Iterator[Correspondence]:
    """A `Correspondence` in the journal ``path``, which no other process may use meanwhile.

    Raises:
        ConflictError: another process is at work on this journal.
        RecordError: the journal is broken or holds something else.
    """
    with Journal(path) as journal:
        yield Correspondence(journal, reporter, budget, others)


def journal_of(out: Path) -> Path:
    """The journal that stands beside a stage's file."""
    return out.with_name(out.stem + ".journal.jsonl")


def _replies_in(path: Path) -> Iterator[ChatReply]:
    """The replies in another stage's journal; what else stands there cost no calls."""
    for row in Journal(path).load():
        if "finish_reason" in row and "calls" in row:
            yield ChatReply.model_validate(row)


def _unanswered(failures: Sequence[ChatFailure], of: int) -> str:
    named = "; ".join(failure.reason for failure in failures[:_NAMED])
    more = f" (and {len(failures) - _NAMED} more)" if len(failures) > _NAMED else ""
    return (
        f"{len(failures)} of {of} requests got no answer: {named}{more}. The others are kept: "
        "run the same command again to ask for these."
    )
