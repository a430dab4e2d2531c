import pytest
import torch

from steer_llama.config import Sampling
from steer_llama.lm import prefix, score
from steer_llama.lm.generation import Row
from steer_llama.lm.generation import padded as generating
from steer_llama.lm.generation.padded import pad_left, write_padded
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.prefix import MIN_TOKENS, shared_prefix
from steer_llama.lm.score import answer_nll
from steer_llama.lm.steering import Steering
from steer_llama.lm.tokens import encode_answer
from steer_llama.records import Message

PREFIX = tuple(range(5, 5 + MIN_TOKENS))
PROMPTS = [(*PREFIX, 70), (*PREFIX, 71, 72, 73, 74), (*PREFIX, 71, 75)]
SAMPLING = Sampling(temperature=0.7, repetition_penalty=1.1, max_tokens=12)


def written(model: LanguageModel, rows: list[Row]) -> list[str]:
    (batch,) = write_padded(model, rows, SAMPLING, batch_size=8)
    return [answer.text for _, answer in sorted(batch, key=lambda item: item[0])]


def test_a_shared_prefix_changes_no_answer(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(prompt, seed) for seed, prompt in enumerate(PROMPTS)]
    calls: list[int] = []
    real = prefix.prefix_cache

    def counted(model: LanguageModel, shared_ids: tuple[int, ...], count: int) -> object:
        calls.append(count)
        return real(model, shared_ids, count)

    monkeypatch.setattr(generating, "prefix_cache", counted)
    shared = written(tiny_llama, rows)
    assert calls == [3], "the prefix was computed once, for all three"
    monkeypatch.setattr(generating, "shared_prefix", lambda *_: 0)
    assert shared == written(tiny_llama, rows)
    assert calls == [3]


def test_how_much_is_shared(tiny_llama: LanguageModel) -> None:
    assert shared_prefix(tiny_llama, PROMPTS) == MIN_TOKENS
    assert shared_prefix(tiny_llama, PROMPTS[:1]) == 0, "one row has nobody to share with"
    assert shared_prefix(tiny_llama, [PREFIX, PREFIX]) == 0, "a token must be left, and the rest is too short"
    assert shared_prefix(tiny_llama, [(*PREFIX, 9), (*PREFIX, 9)]) == MIN_TOKENS
    assert shared_prefix(tiny_llama, [PREFIX[1:], *PROMPTS]) == 0


def test_steered_rows_share_nothing(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> object:
        raise AssertionError("a steered batch must not share its prefix")

    monkeypatch.setattr(generating, "prefix_cache", never)
    steered = Steering(1, torch.ones(tiny_llama.width))
    assert len(written(tiny_llama, [Row(PROMPTS[0], 0), Row(PROMPTS[1], 1, steered)])) == 2


def test_padding_comes_after_what_is_shared() -> None:
    ids, attention = pad_left([(1, 2, 3), (1, 2, 4, 5, 6)], 0, shared=2)
    assert ids.tolist() == [[1, 2, 0, 0, 3], [1, 2, 4, 5, 6]]
    assert attention.tolist() == [[1, 1, 0, 0, 1], [1, 1, 1, 1, 1]]


def test_nll_is_the_same_with_and_without_a_shared_prefix(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = Message(role="system", content="a long system prompt " * 8)
    answers = [
        encode_answer(tiny_llama.tokenizer, [long, Message(role="user", content=question)], answer)
        for question, answer in (("hello", "one two"), ("hello there you", "three"), ("hi", "four five six 🎉"))
    ]

    def nats() -> list[float]:
        return [value for batch in answer_nll(tiny_llama, answers, 8) for _, value, _ in sorted(batch)]

    packed = nats()
    monkeypatch.setattr(score, "decoder_of", lambda _: None)
    assert shared_prefix(tiny_llama, [answer.ids[: answer.response_start] for answer in answers]) >= MIN_TOKENS
    shared = nats()
    monkeypatch.setattr(score, "shared_prefix", lambda *_: 0)
    assert shared == pytest.approx(nats(), rel=1e-5)
    assert shared == pytest.approx(packed, rel=1e-5)
