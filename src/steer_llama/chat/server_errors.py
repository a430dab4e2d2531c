"""What went wrong at a chat server, in words that a user can act on and that never hold the key."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import openai

from steer_llama.chat.prompts import last_question
from steer_llama.records import ChatRequest

_SHORT = 200
"""Characters of a server's message that an error repeats."""


def shown_url(url: str) -> str:
    """The address without a user name, password or query in it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def shown_question(request: ChatRequest) -> str:
    """The request's question, short enough for an error."""
    question = " ".join(last_question(request.messages).split())
    return f"the question {question if len(question) <= 80 else question[:80] + '…'!r}"


def short(text: str, key: str) -> str:
    """A text in one line of bounded length, without the key (some servers repeat it)."""
    text = " ".join(text.replace(key, "***").split())
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def server_message(body: Any, key: str) -> str:
    """What the body of an error says: OpenAI's ``message``, FastAPI's ``detail``, or plain text."""
    if isinstance(body, dict):
        inner = body["error"] if isinstance(body.get("error"), dict) else body
        body = inner.get("message") or inner.get("detail") or inner
    return short(str(body), key) if body else ""


def refusal(error: openai.APIStatusError, request: ChatRequest, key: str, max_retries: int) -> str:
    """Why the server did not answer, and what to do about it."""
    status = error.status_code
    said = f"HTTP {status}: {server_message(error.body, key) or 'no message'}"
    if status in {401, 403}:
        return f"the server refused the key ({said}). Set the right one in the variable that 'api_key_env' names."
    if status == 404:
        return f"the server does not know it ({said}). Check 'model' and 'base_url' (it usually ends in /v1)."
    if status in {408, 409, 429} or status >= 500:
        wait = error.response.headers.get("retry-after")
        asked = f" It asks to wait {wait} s." if wait else ""
        return (
            f"the server gave up on {shown_question(request)} ({said}), with up to {max_retries} retries.{asked} "
            "Lower 'concurrency', or run the same command again later."
        )
    return f"the server refused {shown_question(request)} ({said}). Check 'model' and 'sampling'."


def why_empty(completion: Any, key: str) -> str:
    """Why a reply with status 200 holds no text: proxies put their error there."""
    if isinstance(completion, str):
        return f"the reply is not JSON but {short(completion, key)!r}. Check 'base_url' (it usually ends in /v1)."
    if said := server_message(getattr(completion, "error", None), key):
        return f"the server said {said!r}."
    choices = getattr(completion, "choices", None)
    if not choices:
        return "the reply has no choices."
    return f"its content is null (finish_reason {getattr(choices[0], 'finish_reason', None)!r})."
