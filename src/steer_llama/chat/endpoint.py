"""What every chat model looks like to the stages, wherever it runs."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from steer_llama.records import ChatFailure, ChatReply, ChatRequest


class Endpoint(Protocol):
    """A chat model that can be asked many questions at once."""

    @property
    def name(self) -> str:
        """The arm's name, for messages and for the keys of its answers."""
        ...

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply | ChatFailure]:
        """Yield a reply per request, in any order, each as soon as it arrives, so that it can be kept at once.

        A request that alone got no answer yields a `ChatFailure`, and the others go on.

        Raises:
            EndpointError: the endpoint answers nobody; raised only after the replies that did arrive were yielded.
            BudgetError: the budget allows no further call; raised as late.
        """
        ...
