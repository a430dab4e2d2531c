"""Asking a judge that writes digit by digit what it would have written after other digits than those it drew."""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from steer_llama.chat import Endpoint, chat_request
from steer_llama.chat.judging import Distribution, likely_digits, opening_of, probabilities
from steer_llama.config import Sampling
from steer_llama.progress import Reporter
from steer_llama.records import ChatReply, ChatRequest, Message
from steer_llama.stages.asking import Correspondence

_SAME = 0.1
"""Total variation distance up to which two distributions of one place count as the same."""
_ROUNDS = 2
"""Digits that may have to be explored one after the other: ``1``, then ``10``."""

_T = TypeVar("_T", bound=Hashable)


class Explorer:
    """Lets the judge go on from digits, once it is known that its server can."""

    def __init__(
        self,
        name: str,
        identity: str,
        sampling: Sampling,
        top_logprobs: int,
        letters: Correspondence,
        open_endpoint: Callable[[], Endpoint],
        reporter: Reporter,
    ) -> None:
        """``name`` and ``identity`` are the judge's; ``sampling`` is that of one more token."""
        self._name = name
        self._identity = identity
        self._sampling = sampling
        self._top_logprobs = top_logprobs
        self._letters = letters
        self._open = open_endpoint
        self._reporter = reporter
        self._continues: bool | None = None
        """Whether the server lets the judge go on from digits; ``None`` before it was tried."""

    def explore(
        self, begun: Mapping[_T, tuple[ChatRequest, ChatReply]], min_mass: float
    ) -> dict[_T, dict[str, Distribution]]:
        """What the judge would write next after the likely digits that it did not draw, by task and digits.

        Raises:
            EndpointError: the endpoint failed; what had arrived is kept.
            BudgetError: the budget allows no further call.
        """
        more: dict[_T, dict[str, Distribution]] = {task: {} for task in begun}
        # Thoughts cannot be sent back everywhere, and without them the judge would go on from nothing.
        openings = {
            task: opening
            for task, (_, reply) in begun.items()
            if not reply.reasoning and (opening := opening_of(reply.steps)) is not None
        }
        tried: set[tuple[_T, str]] = set()
        for _ in range(_ROUNDS):
            asked = {
                (task, digits): self._going_on(begun[task][0], opening.lead + digits)
                for task, opening in openings.items()
                for digits in likely_digits(opening, more[task], min_mass)
                if (task, digits) not in tried
            }
            if not asked:
                break
            if self._continues is None:
                drawn = next((task for task, _ in asked if openings[task].after), None)
                if drawn is None:
                    self._try_out(next(iter(asked.values())), None)
                else:
                    digits, after = next(iter(openings[drawn].after.items()))
                    self._try_out(self._going_on(begun[drawn][0], openings[drawn].lead + digits), after)
            if not self._continues:
                break
            tried |= asked.keys()
            heard = self._letters.ask(self._open, list(asked.values()), "judging: exploring further digits")
            for (task, digits), request in asked.items():
                reply = heard.replies.get(request.key)
                if reply is not None and reply.steps:
                    more[task][digits] = probabilities(reply.steps[0])
        return more

    def _going_on(self, request: ChatRequest, beginning: str) -> ChatRequest:
        begun: Message = {"role": "assistant", "content": beginning}
        return chat_request(
            self._identity,
            (*request.messages, begun),
            self._sampling,
            top_logprobs=self._top_logprobs,
            continues=True,
        )

    def _try_out(self, request: ChatRequest, known: Distribution | None) -> None:
        """Find out, with one request, whether the judge can go on from digits: some servers begin anew instead.

        ``known`` is what the answer has to be, where the judge has drawn these digits itself.
        """
        heard = self._letters.ask(self._open, [request], "judging: trying to go on from digits")
        why = None
        if refused := heard.refused.get(request.key):
            why = f"the server refuses it ({refused.reason})"
        elif not heard.replies[request.key].steps:
            why = "the reply has no log probabilities"
        elif known is not None and _distance(probabilities(heard.replies[request.key].steps[0]), known) > _SAME:
            why = "the server begins a new reply instead"
        self._continues = why is None
        if why is not None:
            self._reporter.note(
                f"{self._name}: writes numbers digit by digit and cannot go on from digits: {why}. Only numbers that "
                "begin with the digit that was drawn count; the mass says how probable these are."
            )


def _distance(first: Distribution, second: Distribution) -> float:
    """Total variation distance, as far as the listed tokens show it."""
    return sum(abs(first.get(token, 0.0) - second.get(token, 0.0)) for token in {*first, *second}) / 2
