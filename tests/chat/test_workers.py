import threading
import time

import pytest

from steer_llama.chat.workers import Errand, answer_many
from steer_llama.records import ChatFailure, ChatReply, ChatRequest


def request(number: int) -> ChatRequest:
    return ChatRequest(
        key=str(number),
        messages=({"role": "user", "content": str(number)},),
        temperature=0,
        top_p=1,
        repetition_penalty=1,
        max_tokens=1,
        seed=0,
    )


def reply(asked: ChatRequest) -> ChatReply:
    return ChatReply(key=asked.key, text="x", finish_reason="stop", model="m")


def test_nothing_to_ask() -> None:
    assert list(answer_many([Errand([], reply, 3)])) == []


def test_an_error_of_ours_is_not_swallowed() -> None:
    def ask(asked: ChatRequest) -> ChatReply:
        if asked.key == "3":
            raise ZeroDivisionError
        return reply(asked)

    seen: list[ChatReply | ChatFailure] = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(answer_many([Errand([request(number) for number in range(100)], ask, 1)]))
    assert [one.key for one in seen] == ["0", "1", "2"]


def test_leaving_early_waits_for_nobody() -> None:
    never = threading.Event()

    def ask(asked: ChatRequest) -> ChatReply:
        if asked.key != "0":
            never.wait(30)
        return reply(asked)

    replies = answer_many([Errand([request(number) for number in range(4)], ask, 2)])
    assert next(replies).key == "0"
    replies.close()  # type: ignore[attr-defined]
    never.set()


def test_errands_are_under_way_together_and_fail_together() -> None:
    met = threading.Barrier(2, timeout=10)
    asked: list[str] = []

    def slow(wanted: ChatRequest) -> ChatReply:
        asked.append(wanted.key)
        if wanted.key == "0":
            met.wait()
        else:
            time.sleep(0.2)
        return reply(wanted)

    def wrong(_: ChatRequest) -> ChatReply:
        met.wait()
        raise ZeroDivisionError

    seen: list[ChatReply | ChatFailure] = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(answer_many([Errand([request(n) for n in range(50)], slow, 1), Errand([request(99)], wrong, 1)]))
    assert [one.key for one in seen] == ["0"]
    assert len(asked) <= 2
