"""The calls to the author: counted, bounded, and asked again with the error where a reply cannot be used."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter

from steer_llama.chat.authoring.replies import CUT, UnusableReplyError, read_as, read_value
from steer_llama.errors import EndpointError
from steer_llama.records import ChatReply, Message

T = TypeVar("T")
Messages = tuple[Message, ...]

_SHOWN = 400
"""Characters of a bad reply that are shown to its author."""


class Ask(Protocol):
    """Asks the author."""

    def __call__(self, messages: Messages, schema: dict[str, Any], attempt: int) -> ChatReply:
        """The reply to ``messages``, in JSON after ``schema``; ``attempt`` counts all calls from 0."""
        ...


@dataclass
class Dialogue:
    """The calls to one author."""

    ask: Ask
    max_calls: int
    calls: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """What could not be used, by kind."""
    last_cut: bool = False

    def once(self, messages: Messages, schema: dict[str, Any], wanted: str) -> ChatReply:
        """One call.

        Raises:
            EndpointError: ``max_calls`` are used up; ``wanted`` says what is missing.
        """
        if self.calls >= self.max_calls:
            raise EndpointError(
                f"the author was asked {self.calls} times (author.max_calls) and {wanted}. "
                f"Not usable: {counted(self.refused) or 'nothing'}. Take a stronger author, ask for fewer at once "
                "(author.questions_per_call), allow longer answers (author.endpoint.sampling.max_tokens), or raise "
                "author.max_calls: what it wrote is kept, and the same command goes on."
            )
        reply = self.ask(messages, schema, self.calls)
        self.calls += 1
        self.last_cut = reply.finish_reason == CUT
        return reply

    def record(
        self, messages: Messages, schema: dict[str, Any], adapter: TypeAdapter[T], check: Callable[[T], str | None]
    ) -> T:
        """One object that passes ``check`` (which says what is wrong), asked for again with the error until it does.

        Raises:
            EndpointError: see `once`.
        """
        asked, why = messages, "wrote nothing usable"
        while True:
            reply = self.once(asked, schema, f"the last reply was not usable: {why}" if self.calls else why)
            try:
                value = read_as(read_value(reply, complete=True), adapter)
                problem = check(value)
            except UnusableReplyError as error:
                problem = str(error)
            else:
                if problem is None:
                    return value
            self.refused["unusable replies"] += 1
            why, asked = problem, repair(messages, reply, problem)


def repair(messages: Messages, reply: ChatReply, problem: str) -> Messages:
    """The request again, after the reply that could not be used and what was wrong with it."""
    shown: Message = {"role": "assistant", "content": shortened(reply.text.strip(), _SHOWN) or "(nothing)"}
    again: Message = {
        "role": "user",
        "content": f"That could not be used: {problem}. Write the whole answer again, as JSON and nothing else.",
    }
    return (*messages, shown, again)


def counted(refused: Counter[str]) -> str:
    """``12 repeated, 3 asks outright``."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(refused.items(), key=lambda entry: -entry[1]))


def shortened(text: str, most: int) -> str:
    """At most so many characters of ``text``."""
    return text if len(text) <= most else f"{text[:most]}…"
