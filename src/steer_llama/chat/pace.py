"""How fast a server may be asked: requests and tokens per minute, and the pauses that it asks for."""

import math
import threading
import time

from pyrate_limiter import InMemoryBucket, Limiter, Rate

_MINUTE = 60_000
"""In milliseconds."""
_SLOTS = 1000
"""Tokens are counted in thousandths of the limit, so that a limit of millions needs no list of millions."""


class Pace:
    """Holds every thread back until its request may go; within any minute the limits hold."""

    def __init__(self, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        self._requests = _limiter(requests_per_minute)
        self._tokens_per_slot = max(1.0, tokens_per_minute / _SLOTS) if tokens_per_minute else 1.0
        self._slots = int(tokens_per_minute / self._tokens_per_slot) if tokens_per_minute else 0
        self._tokens = _limiter(self._slots or None)
        self._lock = threading.Lock()
        self._not_before = 0.0

    def wait(self, tokens: int) -> None:
        """Wait for room for one more request of ``tokens`` tokens, and for the end of a pause."""
        if self._requests is not None:
            self._requests.try_acquire()
        if self._tokens is not None:
            # A request above the limit goes alone: it has to wait for a whole free minute, and no longer.
            self._tokens.try_acquire(weight=min(self._slots, math.ceil(tokens / self._tokens_per_slot)))
        while (left := self._not_before - time.monotonic()) > 0:
            time.sleep(left)

    def pause(self, seconds: float) -> None:
        """Let no request go for ``seconds``: the server asked one of them to wait, and would refuse the others."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)


def _limiter(per_minute: int | None) -> Limiter | None:
    return Limiter(InMemoryBucket([Rate(per_minute, _MINUTE)])) if per_minute else None
