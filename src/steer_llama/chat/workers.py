"""Many requests under way at once, their replies one by one."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from steer_llama.records import ChatFailure, ChatReply, ChatRequest

Outcome = ChatReply | ChatFailure

_LOOK_UP_SECONDS = 0.1
"""How often a worker that waits for room looks whether anybody still wants its reply."""


@dataclass(frozen=True)
class Errand:
    """Requests, who asks them, and how many at once."""

    requests: Sequence[ChatRequest]
    ask: Callable[[ChatRequest], Outcome]
    concurrency: int


def answer_many(errands: Sequence[Errand]) -> Iterator[Outcome]:
    """Yield the outcome of every request as it arrives; all errands are under way at once, each within its bounds.

    After the first exception no further request starts, of any errand; those under way are waited for and yielded,
    and then the exception is raised. When the caller leaves early (Ctrl-C), nothing is waited for.
    """
    failed = threading.Event()
    abandoned = threading.Event()
    # Bounded, so that a slow reader slows the workers down instead of piling replies up.
    room = sum(errand.concurrency for errand in errands)
    arrived: queue.Queue[Outcome | BaseException | None] = queue.Queue(maxsize=room)

    def hand_over(outcome: Outcome | BaseException | None) -> None:
        while not abandoned.is_set():
            try:
                arrived.put(outcome, timeout=_LOOK_UP_SECONDS)
            except queue.Full:
                continue
            return

    def work(errand: Errand, waiting: Iterator[ChatRequest], turn: threading.Lock) -> None:
        while not failed.is_set() and not abandoned.is_set():
            with turn:
                request = next(waiting, None)
            if request is None:
                break
            try:
                hand_over(errand.ask(request))
            except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
                failed.set()
                hand_over(error)
        hand_over(None)

    # Daemons, because the interpreter would otherwise wait for their retries before it lets go on Ctrl-C.
    crew: list[threading.Thread] = []
    for errand in errands:
        shared = (errand, iter(errand.requests), threading.Lock())
        hands = min(errand.concurrency, len(errand.requests))
        crew += [threading.Thread(target=work, args=shared, daemon=True) for _ in range(hands)]
    failures: list[BaseException] = []
    try:
        for worker in crew:
            worker.start()
        running = len(crew)
        while running:
            outcome = arrived.get()
            if outcome is None:
                running -= 1
            elif isinstance(outcome, ChatReply | ChatFailure):
                yield outcome
            else:
                failures.append(outcome)
    finally:
        abandoned.set()
    if failures:
        raise failures[0]
