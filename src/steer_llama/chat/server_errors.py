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
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no address)"
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


def fatal(error: openai.APIStatusError, key: str) -> str | None:
    """Why the server will answer nothing that is asked of it, and what to do; ``None`` where that is not so."""
    said = _said(error, key)
    if error.status_code in {401, 403}:
        return f"the server refused the key ({said}). Set the right one in the variable that 'api_key_env' names."
    if error.status_code == 404:
        return f"the server does not know it ({said}). Check 'model' and 'base_url' (it usually ends in /v1)."
    if error.status_code in {402, 429}:
        return f"the account has nothing left ({said}). Pay for more, or name another key in 'api_key_env'."
    return None


def refusal(error: openai.APIStatusError, request: ChatRequest, key: str, verb: str) -> str:
    """That the server "refused" or "did not answer" a request, and what it said."""
    return f"the server {verb} {shown_question(request)} ({_said(error, key)})"


def _said(error: openai.APIStatusError, key: str) -> str:
    return f"HTTP {error.status_code}: {server_message(error.body, key) or 'no message'}"
