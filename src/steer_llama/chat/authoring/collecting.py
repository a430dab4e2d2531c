"""Filling a list over several calls: what is good in each reply is kept, what is not is named in the next request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from steer_llama.chat.authoring.checks import Flaw
from steer_llama.chat.authoring.dialogue import Dialogue, Messages, repair, shortened
from steer_llama.chat.authoring.replies import UnusableReplyError, read_as, read_list

T = TypeVar("T")

_FEWEST = 5
"""Items that a further call asks for at least: some may be refused again."""
_NAMED = 5
"""Refused items that a request names."""
_SHOWN = 120
"""Characters of each."""


@dataclass(frozen=True)
class Refused:
    """An item that was not kept."""

    text: str
    why: str


@dataclass(frozen=True)
class Wanted(Generic[T]):
    """A list that is to be filled."""

    key: str
    """In the author's JSON."""
    count: int
    per_call: int
    adapter: TypeAdapter[T]
    schema: Callable[[int], dict[str, Any]]
    """For so many items."""
    request: Callable[[int, int, Sequence[T], Sequence[Refused]], Messages]
    """For so many items, as the so-manieth request, after those that are there and those that were just refused."""
    flaw: Callable[[T, Sequence[T]], Flaw | None]
    """What is wrong with an item beside those that are there."""
    clean: Callable[[T], T]


def collect(dialogue: Dialogue, wanted: Wanted[T], advance: Callable[[int], None]) -> list[T]:
    """Ask until there are ``wanted.count`` good items; keep the good ones of each reply, a reply cut off included.

    An author whose answers are cut off is asked for fewer at once from then on. What is there and what was refused
    stands in the next request, so that it is not written again; a small model that copies it instead (fewer than half
    of its items were good) is asked without it, until that goes no better.

    Raises:
        EndpointError: see `Dialogue.once`.
    """
    kept: list[T] = []
    refused: list[Refused] = []
    per_call, asked, mend, reminded = wanted.per_call, 0, None, True
    while len(kept) < wanted.count:
        missing = wanted.count - len(kept)
        number = min(per_call, max(missing, _FEWEST) if asked else missing)
        messages = wanted.request(number, asked, kept if reminded else (), refused[:_NAMED] if reminded else ())
        if mend is not None:
            messages = repair(messages, *mend)
        reply = dialogue.once(
            messages, wanted.schema(number), f"wrote {len(kept)} of {wanted.count} usable {wanted.key}"
        )
        asked, refused, mend = asked + 1, [], None
        items: list[Any] = []
        try:
            items = read_list(reply, wanted.key)
        except UnusableReplyError as error:
            dialogue.refused["unusable replies"] += 1
            mend = (reply, str(error))
        if dialogue.last_cut:
            per_call = max(1, min(per_call - 1, len(items) or per_call // 2))
        before = len(kept)
        for item in items:
            flaw = _add(item, kept, wanted)
            if flaw is not None:
                dialogue.refused[flaw.kind] += 1
                refused.append(Refused(shortened(str(item), _SHOWN), flaw.why))
            elif len(kept) == wanted.count:
                break
        good = len(kept) - before
        advance(good)
        if 2 * good < len(items):
            reminded = not reminded
    return kept


def _add(item: Any, kept: list[T], wanted: Wanted[T]) -> Flaw | None:
    try:
        value = wanted.clean(read_as(item, wanted.adapter))
    except UnusableReplyError as error:
        return Flaw("malformed", str(error))
    flaw = wanted.flaw(value, kept)
    if flaw is None:
        kept.append(value)
    return flaw
