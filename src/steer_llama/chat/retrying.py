"""When another try is worth it, and how long to wait for it."""

import email.utils
import time
from collections.abc import Callable
from typing import TypeVar

import openai
import tenacity

_T = TypeVar("_T")

FIRST_WAIT = 0.5
"""Seconds before the second try; doubled for each further one."""
_SERVER_MAY_RECOVER = frozenset({408, 409, 425, 429})
_NO_WAIT_HELPS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Error codes that come with status 429 and are no matter of time."""


class TryAgainError(Exception):
    """A try failed in a way that may pass; the text says how."""

    def __init__(
        self, reason: str, wait: float | None = None, *, unreachable: bool = False, final: bool = False
    ) -> None:
        """What happened, and what follows from it.

        Args:
            reason: in words.
            wait: seconds that the server asks for.
            unreachable: nobody answers there, whatever is asked.
            final: it was tried often enough.
        """
        super().__init__(reason)
        self.wait = wait
        self.unreachable = unreachable
        self.final = final


def may_pass(error: openai.APIStatusError) -> bool:
    """Whether the same request may succeed later."""
    if error.code in _NO_WAIT_HELPS:
        return False
    return error.status_code in _SERVER_MAY_RECOVER or error.status_code >= 500


def asked_to_wait(error: openai.APIStatusError) -> float | None:
    """Seconds that the server's ``Retry-After`` asks for, in any of its spellings; ``None`` where there is none."""
    headers = error.response.headers
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        if "retry-after" in headers:
            return max(0.0, float(headers["retry-after"]))
    except ValueError:
        pass
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    try:
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None
    except (ValueError, OverflowError):
        return None


def with_retries(once: Callable[[], _T], max_retries: int, max_wait: float) -> _T:
    """Call ``once`` until it succeeds: after 0.5, 1, 2 … seconds with jitter, or when the server says.

    Raises:
        TryAgainError: the last try's, when there were enough or the server wants a longer wait than ``max_wait``.
    """
    backoff = tenacity.wait_exponential(multiplier=FIRST_WAIT, max=max_wait) + tenacity.wait_random(0, FIRST_WAIT)

    def wait(state: tenacity.RetryCallState) -> float:
        asked = _error_of(state).wait
        jitter = tenacity.wait_random(0, FIRST_WAIT / 2)(state)
        return backoff(state) if not asked else asked + jitter

    def stop(state: tenacity.RetryCallState) -> bool:
        error = _error_of(state)
        return error.final or state.attempt_number > max_retries or (error.wait or 0.0) > max_wait

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TryAgainError), wait=wait, stop=stop, reraise=True
    )
    return retrying(once)


def _error_of(state: tenacity.RetryCallState) -> TryAgainError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, TryAgainError), "only these are tried again"
    return error
