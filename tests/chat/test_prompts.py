from typing import Any

import pytest

from steer_llama import chat
from steer_llama.chat import build_messages, chat_request, last_question, question_seed
from steer_llama.config import Sampling
from steer_llama.records import Turn


def test_public_names_are_sorted_and_there() -> None:
    assert chat.__all__ == sorted(chat.__all__)
    assert all(hasattr(chat, name) for name in chat.__all__)


def test_a_conversation() -> None:
    assert build_messages("Be kind.", (Turn(user="Hi", assistant="Hello!"),), "Why?") == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Why?"},
    )
    assert build_messages("", (), "Why?") == ({"role": "user", "content": "Why?"},)


def test_the_question_is_the_last_user_message() -> None:
    assert last_question(build_messages("s", (Turn(user="Hi", assistant="Hello!"),), "Why?")) == "Why?"
    assert last_question(()) == ""


def test_a_key_is_stable_and_tells_requests_apart() -> None:
    messages = build_messages("", (), "Why?")
    key = chat_request("m", messages, Sampling()).key
    assert key == chat_request("m", build_messages("", (), "Why?"), Sampling(temperature=0.7)).key
    assert key == "00a0d817e0f1f465b248ed0de5146c5adfc62271e97e2da1d7bce30340e7ee84"
    others = [
        chat_request("n", messages, Sampling()).key,
        chat_request("m", build_messages("x", (), "Why?"), Sampling()).key,
        chat_request("m", messages, Sampling(seed=1)).key,
    ]
    demands: list[dict[str, Any]] = [{"top_logprobs": 5}, {"continues": True}, {"answer_schema": {"type": "object"}}]
    others += [chat_request("m", messages, Sampling(), **demand).key for demand in demands]
    assert len({key, *others}) == 7


@pytest.mark.parametrize("question", ["Why?", "Wie schön 🙂", ""])
def test_a_seed_has_31_bits_and_depends_on_run_and_question_alone(question: str) -> None:
    seed = question_seed(0, question)
    assert 0 <= seed < 2**31
    assert seed == question_seed(0, question)
    assert len({seed, question_seed(1, question), question_seed(0, question + " ")}) == 3


def test_the_seeds_of_a_release_stay() -> None:
    assert question_seed(0, "Why?") == 1263905463
