"""Many requests under way at once, their replies one by one."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from steer_llama.records import ChatReply, ChatRequest

_LOOK_UP_SECONDS = 0.1
"""How often a worker that waits for room looks whether anybody still wants its reply."""


def answer_many(
    requests: Sequence[ChatRequest], ask: Callable[[ChatRequest], ChatReply], concurrency: int
) -> Iterator[ChatReply]:
    """Yield ``ask(request)`` of every request as it arrives, at most ``concurrency`` of them under way.

    After the first failure no further request starts; those under way are waited for and yielded, and then the
    failure is raised. When the caller leaves early (Ctrl-C), nothing is waited for.
    """
    waiting = iter(requests)
    turn = threading.Lock()
    failed = threading.Event()
    abandoned = threading.Event()
    # Bounded, so that a slow reader slows the workers down instead of piling replies up.
    arrived: queue.Queue[ChatReply | BaseException | None] = queue.Queue(maxsize=concurrency)

    def hand_over(outcome: ChatReply | BaseException | None) -> None:
        while not abandoned.is_set():
            try:
                arrived.put(outcome, timeout=_LOOK_UP_SECONDS)
            except queue.Full:
                continue
            return

    def work() -> None:
        while not failed.is_set() and not abandoned.is_set():
            with turn:
                request = next(waiting, None)
            if request is None:
                break
            try:
                hand_over(ask(request))
            except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
                failed.set()
                hand_over(error)
        hand_over(None)

    # Daemons, because the interpreter would otherwise wait for their retries before it lets go on Ctrl-C.
    crew = [threading.Thread(target=work, daemon=True) for _ in range(min(concurrency, len(requests)))]
    failures: list[BaseException] = []
    try:
        for worker in crew:
            worker.start()
        running = len(crew)
        while running:
            outcome = arrived.get()
            if outcome is None:
                running -= 1
            elif isinstance(outcome, ChatReply):
                yield outcome
            else:
                failures.append(outcome)
    finally:
        abandoned.set()
    if failures:
        raise failures[0]
