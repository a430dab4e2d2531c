"""Generation: a row's answer is its own, and nothing is sampled, penalised or stopped that was not asked for."""

import copy
import dataclasses
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from steer_llama.config import ModelSettings, Sampling
from steer_llama.errors import ContextLengthError
from steer_llama.lm.endpoint import LocalEndpoint
from steer_llama.lm.generation import Generation, Row, generate
from steer_llama.lm.generation.padded import write_padded
from steer_llama.lm.generation.rows import read_answer
from steer_llama.lm.generation.sampling import Sampler, generator_of
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.lm.tokens import encode_prompt
from steer_llama.progress import SilentReporter
from steer_llama.records import ChatRequest
from tests.lm.models import save_tiny_llama

PROMPTS = [(5, 9, 33, 7), (41, 12), (28, 17, 11, 50, 8, 19, 20), (90,), (91, 92, 93)]
GREEDY = Sampling(temperature=0, max_tokens=16)
WARM = Sampling(temperature=0.7, max_tokens=16)


def write(model: LanguageModel, rows: Sequence[Row], sampling: Sampling, batch_size: int = 8) -> list[Generation]:
    """By continuous batching, which has to write what transformers' own loop writes."""
    ways = (generate, write_padded)
    found, padded = (dict(pair for batch in way(model, rows, sampling, batch_size) for pair in batch) for way in ways)
    assert sorted(found) == list(range(len(rows)))
    assert found == padded
    return [found[index] for index in range(len(rows))]


def seeded(seed: int = 0) -> list[Row]:
    return [Row(prompt, seed + index) for index, prompt in enumerate(PROMPTS)]


@pytest.mark.parametrize("sampling", [GREEDY, WARM, Sampling(temperature=1, top_p=0.8, repetition_penalty=1.3)])
def test_an_answer_does_not_depend_on_its_neighbours(tiny_llama: LanguageModel, sampling: Sampling) -> None:
    sampling = sampling.model_copy(update={"max_tokens": 16})
    rows = seeded()
    together = write(tiny_llama, rows, sampling)
    assert len({answer.text for answer in together}) == len(rows)
    assert write(tiny_llama, rows, sampling, 1) == together
    assert write(tiny_llama, rows, sampling, 2) == together
    assert write(tiny_llama, rows[::-1], sampling, 3) == together[::-1]


def test_greedy_is_that_of_transformers(tiny_llama: LanguageModel) -> None:
    for prompt, answer in zip(PROMPTS, write(tiny_llama, seeded(), GREEDY), strict=True):
        out = tiny_llama.hf.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=16, pad_token_id=0)
        text = tiny_llama.tokenizer.decode(out[0, len(prompt) :], skip_special_tokens=True)
        assert answer.text == text.rstrip("\ufffd").strip()


def test_seeds(tiny_llama: LanguageModel) -> None:
    torch.manual_seed(1)
    first = write(tiny_llama, seeded(0), WARM)
    torch.manual_seed(2)
    assert write(tiny_llama, seeded(0), WARM) == first
    assert all(a != b for a, b in zip(write(tiny_llama, seeded(10), WARM), first, strict=True))
    assert write(tiny_llama, seeded(0), GREEDY) == write(tiny_llama, seeded(10), GREEDY)
    assert write(tiny_llama, seeded(0), Sampling(temperature=5, top_p=1e-6, max_tokens=16)) == write(
        tiny_llama, seeded(0), GREEDY
    ), "a top_p of nothing leaves the likeliest token only"


def test_the_noise_samples_the_softmax() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -torch.inf])
    draws = 20_000
    sampler, generator = Sampler(Sampling(temperature=1)), generator_of(3)
    chosen = torch.tensor([sampler.choose(logits[None].clone(), [[]], [generator])[0] for _ in range(draws)])
    counts = torch.bincount(chosen, minlength=5).double()
    expected = torch.softmax(logits.double(), 0) * draws
    assert counts[4] == 0
    chi_square = float(((counts - expected)[:4] ** 2 / expected[:4]).sum())
    assert chi_square < 16.3  # three degrees of freedom: once in a thousand seeds


def test_the_penalty_is_over_the_answer_and_not_the_prompt(tiny_llama: LanguageModel) -> None:
    first = tiny_llama.hf(torch.tensor([PROMPTS[0]])).logits[0, -1].argmax().item()
    prompt = (*PROMPTS[0], first, *PROMPTS[0])
    likeliest = tiny_llama.hf(torch.tensor([prompt])).logits[0, -1].argmax().item()
    prompt = (likeliest, *prompt)
    plain = write(tiny_llama, [Row(prompt, 0)], Sampling(temperature=0, max_tokens=1))
    harsh = Sampling(temperature=0, max_tokens=1, repetition_penalty=50.0)
    assert write(tiny_llama, [Row(prompt, 0)], harsh) == plain, "the first token cannot repeat anything"
    long = harsh.model_copy(update={"max_tokens": 24})
    [answer] = write(tiny_llama, [Row(prompt, 0)], long)
    unpenalised = write(tiny_llama, [Row(prompt, 0)], Sampling(temperature=0, max_tokens=24))
    assert [answer] != unpenalised


def with_stops(model: LanguageModel, of_config: int | list[int], of_tokenizer: str) -> LanguageModel:
    hf, tokenizer = copy.deepcopy(model.hf), copy.deepcopy(model.tokenizer)
    hf.generation_config = GenerationConfig(eos_token_id=of_config)
    tokenizer.eos_token = of_tokenizer
    return dataclasses.replace(model, hf=hf, tokenizer=tokenizer)


def test_stops(tiny_llama: LanguageModel) -> None:
    """One of several stop tokens ends an answer, and is no part of it."""
    [row] = [Row(PROMPTS[0], 0)]
    out = tiny_llama.hf.generate(torch.tensor([row.prompt_ids]), do_sample=False, max_new_tokens=16, pad_token_id=0)
    tokens = out[0, len(row.prompt_ids) :].tolist()
    stop = next(token for token in tokens[3:] if token not in tokens[:3])
    model = with_stops(tiny_llama, [7, stop], "</s>")
    rows = [row, *seeded()[1:]]
    answer = write(model, rows, GREEDY)[0]
    assert answer.finish_reason == "stop"
    assert answer.tokens == tokens.index(stop)
    assert answer.text == tiny_llama.tokenizer.decode(tokens[: tokens.index(stop)]).strip()
    # The tokenizer's own end of turn stops too, though the generation configuration does not name it.
    model = with_stops(tiny_llama, 7, tiny_llama.tokenizer.convert_ids_to_tokens(stop))
    steps: list[int] = []
    model.hf.model.norm.register_forward_hook(lambda *_: steps.append(1))
    list(generate(model, [row], GREEDY, 8))  # what runs the blocks is tried out first
    steps.clear()
    assert [pair for batch in generate(model, [row], GREEDY, 8) for pair in batch] == [(0, answer)]
    assert len(steps) == answer.tokens + 1, "it does not write on behind the end"


def test_cut_at_the_limit(tiny_llama: LanguageModel) -> None:
    [answer] = write(tiny_llama, [Row(PROMPTS[0], 0)], Sampling(temperature=0, max_tokens=3))
    assert (answer.finish_reason, answer.tokens) == ("length", 3)


def test_half_an_emoji_at_the_cut_is_left_out(tiny_llama: LanguageModel) -> None:
    model = with_stops(tiny_llama, 7, "</s>")
    model.tokenizer.clean_up_tokenization_spaces = True
    model.tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
    tokens = model.tokenizer("ok ! 🙈", add_special_tokens=False)["input_ids"]
    assert model.tokenizer.decode(tokens[:-1]) == "ok! \ufffd", "what transformers does to punctuation"
    answer = read_answer(model, tokens[:-1], frozenset())
    assert answer.text == "ok !", "and the space before a mark stays"


def test_a_prompt_without_room_is_refused(tiny_llama: LanguageModel) -> None:
    with pytest.raises(ContextLengthError, match="257 tokens, but the model's context is 256"):
        write(tiny_llama, [Row((5,) * 241, 0)], GREEDY)
    assert write(tiny_llama, [Row((5,) * 240, 0)], GREEDY)
    assert write(tiny_llama, [], GREEDY) == []


FOREIGN = {
    "do_sample": True,
    "temperature": 0.01,
    "top_k": 1,
    "top_p": 0.1,
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 1,
    "suppress_tokens": list(range(5, 300)),
    "min_new_tokens": 16,
    "num_beams": 2,
    "max_length": 5,
    "cache_implementation": "static",
}


def test_a_foreign_generation_config_changes_nothing(
    tiny_llama: LanguageModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_tiny_llama(tmp_path / "opinionated")
    path = folder / "generation_config.json"
    given = json.loads(path.read_text())
    path.write_text(json.dumps({**given, **FOREIGN, "eos_token_id": [given["eos_token_id"], 300]}))
    model = load_model(ModelSettings(path=str(folder), device="cpu"), SilentReporter())
    assert model.hf.generation_config.eos_token_id == [given["eos_token_id"], 300]
    model.hf.generation_config.eos_token_id = given["eos_token_id"]
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        for sampling in (GREEDY, Sampling(temperature=1, top_p=0.9, repetition_penalty=1.2, max_tokens=16)):
            assert write(model, seeded(), sampling) == write(tiny_llama, seeded(), sampling)
    assert not caplog.records


def test_the_endpoint_answers_each_request_by_its_own_sampling(tiny_llama: LanguageModel) -> None:
    def request(key: str, **changes: float) -> ChatRequest:
        fields = {"temperature": 0.7, "top_p": 1.0, "repetition_penalty": 1.0, "max_tokens": 8, "seed": 1, **changes}
        return ChatRequest.model_validate({"key": key, "messages": [{"role": "user", "content": "hello"}], **fields})

    requests = [request("a"), request("b", max_tokens=4), request("c", seed=2), request("d")]
    replies = {reply.key: reply for reply in LocalEndpoint("it", tiny_llama, 2).answer(requests)}
    assert sorted(replies) == ["a", "b", "c", "d"]
    assert replies["a"].text == replies["d"].text != replies["c"].text
    assert replies["b"].completion_tokens == 4
    assert replies["a"].prompt_tokens == len(encode_prompt(tiny_llama.tokenizer, requests[0].messages))
    assert replies["a"].model == tiny_llama.name
