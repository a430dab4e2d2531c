"""Continuous batching: nobody's answer depends on who else is written, and a steered prompt serves nobody else."""

import dataclasses
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from steer_llama.config import Sampling
from steer_llama.lm.decoder import Decoder, decoder_of
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.generation import continuous as continuous_module
from steer_llama.lm.generation.padded import write_padded
from steer_llama.lm.generation.step import BLOCK, Step
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing import FusedBlocks, ModelCode
from steer_llama.lm.steering import DIVERGENCE, RESPONSE, Gate, RowSteering, Steering
from steer_llama.lm.tokens import encode_prompt
from tests.lm.models import ARCHITECTURES, random_model

GREEDY = Sampling(temperature=0, max_tokens=20)
LONG = tuple(range(5, 5 + 2 * BLOCK))
"""What prompts begin with, of several blocks."""


def vector(seed: int, width: int = 32) -> Tensor:
    return 3 * torch.randn(width, generator=torch.Generator().manual_seed(seed))


def texts(model: LanguageModel, rows: Sequence[Row], batch_size: int = 8, sampling: Sampling = GREEDY) -> list[str]:
    found = {index: answer for batch in generate(model, rows, sampling, batch_size) for index, answer in batch}
    return [found[index].text for index in range(len(rows))]


def mixed_rows() -> list[Row]:
    """Rows of every kind of steering, of uneven lengths, some with a beginning in common."""
    kinds = (
        None,
        Steering(1, vector(1)),
        (Steering(0, vector(2)), Steering(2, vector(3), mode="keep_norm")),
        Steering(1, vector(4), span=RESPONSE),
        Steering(1, vector(5), span=DIVERGENCE, half_life=4.0),
        Steering(2, vector(6), mode="project_out"),
        Steering(2, vector(7), gate=Gate(vector(8), 0.0, layer=0)),
        Steering(1, vector(9), mode="clamp", high=0.01),
    )
    prompts = [(*LONG, 54 + number // 2) if number % 2 else (40, 41, 42 + number) for number in range(16)]
    return [Row(prompt, number, kinds[number % 8]) for number, prompt in enumerate(prompts)]


def test_the_same_text_alone_in_company_and_in_any_order(tiny_llama: LanguageModel) -> None:
    rows = mixed_rows()
    for sampling in (GREEDY, Sampling(temperature=0.9, repetition_penalty=1.2, max_tokens=20)):
        together = texts(tiny_llama, rows, 32, sampling)
        assert len(set(together)) > 12
        assert together == [texts(tiny_llama, [row], 1, sampling)[0] for row in rows]
        for order in (range(15, -1, -1), [*range(7, 16), *range(7)]):
            assert texts(tiny_llama, [rows[index] for index in order], 5, sampling) == [together[i] for i in order]


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_as_padded_batches_write_it(architecture: str, tiny_llama: LanguageModel) -> None:
    """Those go through transformers' own loop, and are steered by hooks."""
    model = dataclasses.replace(random_model(architecture), tokenizer=tiny_llama.tokenizer)
    rows = [dataclasses.replace(row, steering=_of_width(row.steering, model.width)) for row in mixed_rows()]
    padded = {index: answer for batch in write_padded(model, rows, GREEDY, 4) for index, answer in batch}
    assert texts(model, rows, 4) == [padded[index].text for index in range(16)]


def _of_width(given: RowSteering, width: int) -> RowSteering:
    """Vectors of another model's width."""
    if isinstance(given, Steering):
        return _resized(given, width)
    return None if given is None else [_resized(each, width) for each in given]


def _resized(given: Steering, width: int) -> Steering:
    gate = None if given.gate is None else dataclasses.replace(given.gate, vector_D=vector(8, width))
    return dataclasses.replace(given, vector_D=vector(given.layer + 20, width), gate=gate)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows each step had to compute."""
    rows: list[int] = []

    class Counted(Step):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            rows.append(len(self.ids_R))

    monkeypatch.setattr(continuous_module, "Step", Counted)
    yield rows


def test_a_common_beginning_is_computed_once(tiny_llama: LanguageModel, computed: list[int]) -> None:
    rows = [Row((*LONG, 70 + number), number) for number in range(6)]
    texts(tiny_llama, rows)
    assert computed[0] == len(LONG) + 6, "the first prompt, and each one's last token"
    computed.clear()
    after_it = [dataclasses.replace(row, steering=Steering(1, vector(1), span=RESPONSE)) for row in rows]
    texts(tiny_llama, after_it)
    assert computed[0] == len(LONG) + 6, "steering behind the prompt leaves it to be shared"
    computed.clear()
    whole = [dataclasses.replace(row, steering=Steering(1, vector(1))) for row in rows]
    texts(tiny_llama, whole)
    assert computed[0] == 6 * (len(LONG) + 1), "a steered prompt is nobody else's"


def test_equal_prompts_are_one_up_to_where_they_are_steered(tiny_llama: LanguageModel, computed: list[int]) -> None:
    prompt, other = (*LONG, 77), (7, 8, 9)
    kinds = [
        Steering(2, vector(1)),
        Steering(1, vector(2)),
        None,
        (Steering(2, vector(3)), Steering(0, vector(4))),
        Steering(2, vector(5), gate=Gate(vector(6), 0.0, layer=1)),
        Steering(1, vector(7), span=RESPONSE),
        Steering(1, vector(2)),
    ]
    rows = [Row(prompt, 0, kind) for kind in kinds] + [Row(other, 0, kinds[0]), Row(other, 0, kinds[1])]
    alone = [texts(tiny_llama, [row])[0] for row in rows]
    assert len(set(alone)) >= 7
    computed.clear()
    assert texts(tiny_llama, rows, 16) == alone
    # The unsteered one leads, and the one that is steered behind the prompt is computed by itself: it is not yet there.
    assert computed[0] == 2 * len(prompt) + len(other)
    assert texts(tiny_llama, rows[::-1], 16) == alone[::-1]
    assert texts(tiny_llama, rows, 4) == alone


def test_rows_that_come_later_take_over_from_those_that_are_there(
    tiny_llama: LanguageModel, computed: list[int]
) -> None:
    rows = [Row((*LONG, 70 + number), number) for number in range(6)]
    alone = [texts(tiny_llama, [row], 1)[0] for row in rows]
    computed.clear()
    sampling = GREEDY.model_copy(update={"max_tokens": 5})
    texts(tiny_llama, rows, 2, sampling)
    filled = 16
    assert sorted(computed, reverse=True)[:2] == [len(LONG) + 2, filled], "once, though both leave at the same time"
    assert texts(tiny_llama, rows, 2) == alone


@pytest.mark.parametrize("order", [1, -1])
def test_a_steered_prompt_poisons_nobody(tiny_llama: LanguageModel, order: int) -> None:
    prompt = (*LONG, *LONG, 77)
    rows = [Row(prompt, 0, Steering(0, 5 * vector(1))), Row(prompt, 0), Row(prompt, 0, Steering(2, vector(2)))][::order]
    alone = [texts(tiny_llama, [row])[0] for row in rows]
    assert len(set(alone)) == 3
    for size in (1, 2, 3):
        assert texts(tiny_llama, rows * 3, size) == alone * 3


def test_what_runs_the_blocks_is_chosen_anew_when_the_weights_change(tiny_llama: LanguageModel) -> None:
    model = dataclasses.replace(random_model("llama"), tokenizer=tiny_llama.tokenizer)
    first = decoder_of(model)
    assert first is not None
    assert isinstance(first._blocks, FusedBlocks)
    assert decoder_of(model) is first
    before = texts(model, [Row((5, 6), 0)])
    with torch.no_grad():
        model.blocks[1].mlp.down_proj.weight += 0.5
    assert decoder_of(model) is not first
    assert texts(model, [Row((5, 6), 0)]) != before
    handle = model.blocks[0].register_forward_hook(lambda *_: None)
    hooked = decoder_of(model)
    assert hooked is not None
    assert isinstance(hooked._blocks, ModelCode), "a user's own hooks are called"
    handle.remove()


def test_long_answers_of_many_rows(tiny_llama: LanguageModel) -> None:
    """The slots grow while answers are written, and rows move between them."""
    rows = [Row((5 + number % 7,) * (1 + 5 * (number % 9)), number) for number in range(20)]
    sampling = Sampling(temperature=1.0, max_tokens=150)
    assert texts(tiny_llama, rows, 6, sampling) == [texts(tiny_llama, [row], 1, sampling)[0] for row in rows]


def test_the_bits_are_the_same_in_company(smollm2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU in float32: the logits of a row alone, among 3 and among 24, are equal and not just near."""
    kept: list[Tensor] = []
    real = Decoder.project

    def spied(self: Decoder, *arguments: object) -> Tensor:
        kept.append(real(self, *arguments))
        return kept[-1]

    monkeypatch.setattr(Decoder, "project", spied)
    questions = [f"Tell me {number} things about tea{' and rain' * (number % 5)}." for number in range(24)]
    prompts = [tuple(encode_prompt(smollm2.tokenizer, [{"role": "user", "content": text}])) for text in questions]
    rows = [Row(prompt, 0, Steering(12, vector(number, 576))) for number, prompt in enumerate(prompts)]
    sampling = Sampling(temperature=0, max_tokens=3)
    longest = max(range(24), key=lambda index: (len(prompts[index]), [-token for token in prompts[index]]))
    seen = []
    for company in ([longest], [longest, 3, 4], list(range(24))):
        kept.clear()
        texts(smollm2, [rows[index] for index in company], 24, sampling)
        seen.append([logits_NV[0] for logits_NV in kept[:2]])
    for other in seen[1:]:
        for mine, theirs in zip(seen[0], other, strict=True):
            assert torch.equal(mine, theirs)
