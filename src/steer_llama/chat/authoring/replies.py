"""Reading the author's JSON: whole, wrapped in prose or a code fence, or cut off in the middle."""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from steer_llama.records import ChatReply

T = TypeVar("T")
CUT = "length"
"""The finish reason of an answer that reached its limit of tokens."""


class UnusableReplyError(ValueError):
    """Nothing in a reply can be used; the text says why, in words that the author can act on."""


def read_value(reply: ChatReply, *, complete: bool) -> Any:
    """The JSON value in the reply; with ``complete`` off also what is finished of one that was cut off.

    Raises:
        UnusableReplyError: there is none.
    """
    starts = [place for place in (reply.text.find(mark) for mark in "{[") if place >= 0]
    if not starts:
        raise UnusableReplyError(f"no JSON object was found{_because(reply)}")
    text = reply.text[min(starts) :]
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except json.JSONDecodeError as error:
        reason = f"not valid JSON ({error.msg}, line {error.lineno}, column {error.colno}){_because(reply)}"
    except (ValueError, RecursionError):  # a number of thousands of digits, a thousand brackets
        raise UnusableReplyError(f"not JSON that anybody can read{_because(reply)}") from None
    if complete:
        raise UnusableReplyError(reason)
    try:
        return from_json(text, allow_partial=True)
    except ValueError:
        raise UnusableReplyError(reason) from None


def read_list(reply: ChatReply, key: str) -> list[Any]:
    """The list under ``key`` (or a bare one), without an item that was cut off.

    Raises:
        UnusableReplyError: there is no such list, or nothing in it.
    """
    value = read_value(reply, complete=False)
    items = value.get(key) if isinstance(value, dict) else value
    if not isinstance(items, list):
        found = f"the keys {sorted(value)}" if isinstance(value, dict) else f"a {type(value).__name__}"
        raise UnusableReplyError(f"expected an object with the list {key!r}, found {found}{_because(reply)}")
    if not items:
        raise UnusableReplyError(f"the list {key!r} has no complete item{_because(reply)}")
    return items


def read_as(value: Any, adapter: TypeAdapter[T]) -> T:
    """``value`` as a record.

    Raises:
        UnusableReplyError: it is something else.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
        return adapter.validate_python(value, strict=True)
    except UnicodeEncodeError:
        raise UnusableReplyError("it holds half a character (a lone surrogate)") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UnusableReplyError(f"{where or 'the item'}: {problem['msg'].lower()}") from None


def _because(reply: ChatReply) -> str:
    if reply.finish_reason != CUT:
        return ""
    if reply.reasoning and not reply.text.strip():
        return "; the limit of tokens was reached in the thoughts"
    return "; the answer was cut off at the limit of tokens"
