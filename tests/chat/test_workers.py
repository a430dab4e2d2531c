import threading

import pytest

from steer_llama.chat.workers import answer_many
from steer_llama.records import ChatReply, ChatRequest


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
    assert list(answer_many([], reply, 3)) == []


def test_an_error_of_ours_is_not_swallowed() -> None:
    def ask(asked: ChatRequest) -> ChatReply:
        if asked.key == "3":
            raise ZeroDivisionError
        return reply(asked)

    seen: list[ChatReply] = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(answer_many([request(number) for number in range(100)], ask, 1))
    assert [one.key for one in seen] == ["0", "1", "2"]


def test_leaving_early_waits_for_nobody() -> None:
    never = threading.Event()

    def ask(asked: ChatRequest) -> ChatReply:
        if asked.key != "0":
            never.wait(30)
        return reply(asked)

    replies = answer_many([request(number) for number in range(4)], ask, 2)
    assert next(replies).key == "0"
    replies.close()  # type: ignore[attr-defined]
    never.set()
