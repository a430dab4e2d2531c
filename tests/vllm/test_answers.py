"""Many questions at once to a real vLLM: all come back, each the answer to its own question."""

import pytest

from steer_llama.chat import OpenAICompatibleEndpoint, build_messages, chat_request
from steer_llama.config import Sampling
from steer_llama.records import ChatReply, ChatRequest
from tests.vllm.conftest import Vllm

pytestmark = pytest.mark.vllm

MANY = 200


def requests(count: int, sampling: Sampling) -> list[ChatRequest]:
    questions = [f"Say the number {number} and something about it." for number in range(count)]
    return [chat_request("vllm", build_messages("", (), question), sampling) for question in questions]


def answers(vllm: Vllm, asked: list[ChatRequest], concurrency: int) -> dict[str, str]:
    endpoint = OpenAICompatibleEndpoint.from_settings("vllm", vllm.settings(concurrency=concurrency, timeout=300))
    outcomes = list(endpoint.answer(asked))
    replies = [outcome for outcome in outcomes if isinstance(outcome, ChatReply)]
    assert len(replies) == len(outcomes) == len(asked)
    return {reply.key: reply.text for reply in replies}


def test_two_hundred_at_once(vllm: Vllm) -> None:
    asked = requests(MANY, Sampling(temperature=0, max_tokens=8))
    together = answers(vllm, asked, concurrency=MANY)
    assert together.keys() == {request.key for request in asked}
    assert len(together) == MANY
    assert all(text.strip() for text in together.values())
    assert len(set(together.values())) > MANY / 2, "the answers do not depend on the questions"
    # Greedy, so whoever else is being answered must not matter.
    some = asked[:: MANY // 10]
    assert answers(vllm, some, concurrency=1) == {request.key: together[request.key] for request in some}


def test_a_seed_draws_the_same_answer_again(vllm: Vllm) -> None:
    asked = requests(6, Sampling(temperature=1, max_tokens=12, seed=3))
    first = answers(vllm, asked, concurrency=6)
    assert answers(vllm, asked, concurrency=1) == first
    others = requests(6, Sampling(temperature=1, max_tokens=12, seed=4))
    assert set(answers(vllm, others, concurrency=6).values()) != set(first.values())
