"""The trained estimator: its gradient, what it finds, and what it leaves as it was.

Shapes: D width.
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from steer_llama.config import Sampling, TrainSettings
from steer_llama.errors import ContextLengthError, FileError, LayerError, ModelError, VectorError
from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering, steering
from steer_llama.lm.tokens import encode_prompt
from steer_llama.lm.training import Measured, Trained, train_direction
from steer_llama.lm.training import upper as upper_module
from steer_llama.lm.training.direction import loss_and_gradient
from steer_llama.lm.training.examples import Example, Text, split_pairs, usable_pairs
from steer_llama.lm.training.measured import measure
from steer_llama.lm.training.objective import Objective, Steered
from steer_llama.lm.training.sphere import SphereSteps
from steer_llama.lm.training.upper import Upper, passing_over
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair
from tests.lm.models import ARCHITECTURES, random_model

EXAMPLES = [
    Example(Text((5, 9, 33, 7, 41, 12), 3), Text((5, 9, 33, 60, 28), 3)),
    Example(Text((41, 12, 3, 17), 2), Text((41, 12, 50, 11, 8, 6, 29), 2)),
]
UNITS = [Steered(0, 2.0), Steered(0, -1.5), Steered(1, -2.0), Steered(1, 0.5)]


def unit(width: int, seed: int) -> torch.Tensor:
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vector / vector.norm()


def doubled(architecture: str) -> LanguageModel:
    model = random_model(architecture)
    model.hf.double()
    model.hf.get_output_embeddings().weight.mul_(20)  # far from uniform, so that likelihoods react
    return model


def exact_norm(self: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Llama's norm in the type that comes in; transformers' computes in float32 always."""
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
    return self.weight * (hidden * scale)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_gradient_is_that_of_finite_differences(
    architecture: str, layer: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LlamaRMSNorm, "forward", exact_norm)
    if not kept:
        monkeypatch.setattr(upper_module, "total_bytes", lambda: 0)
    objective = Objective(doubled(architecture), EXAMPLES, layer, 16, SilentReporter())
    at_D = unit(32, 1)
    _, gradient_D = loss_and_gradient(objective, UNITS, at_D)
    assert gradient_D.dtype == torch.float64
    assert float(gradient_D.norm()) > 1e-3
    step = 1e-6
    for seed in range(5):
        way_D = unit(32, 10 + seed)
        up, down = (loss_and_gradient(objective, UNITS, at_D + sign * step * way_D)[0] for sign in (1, -1))
        assert float(gradient_D @ way_D) == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_loss_is_that_of_plain_logits(architecture: str) -> None:
    """Against transformers' own logits of the whole model, one text at a time, under `steering`."""
    model = random_model(architecture)
    model.hf.get_output_embeddings().weight.mul_(20)
    reporter = SilentReporter()
    objective = Objective(model, EXAMPLES, 1, 1000, reporter)
    unit_D = unit(32, 2).float()
    found, _ = loss_and_gradient(objective, UNITS, unit_D)
    expected = []
    for one in UNITS:
        example = EXAMPLES[one.pair]
        gains = [
            plain_likelihood(model, text, one.coefficient * unit_D) - plain_likelihood(model, text, 0 * unit_D)
            for text in (example.chosen, example.rejected)
        ]
        winner, loser = gains if one.coefficient > 0 else gains[::-1]
        expected.append(math.log1p(math.exp(-(2 * winner - loser))))
    assert found == pytest.approx(np.mean(expected), rel=1e-4)
    assert reporter.notes == [], "every architecture here can be run from the middle"


def plain_likelihood(model: LanguageModel, text: Text, added_D: torch.Tensor) -> float:
    with torch.no_grad(), steering(model, [Steering(1, added_D)]):
        log_p = torch.log_softmax(model.hf(torch.tensor([text.ids])).logits[0].double(), dim=-1)
    places = range(text.begin, len(text.ids))
    return sum(float(log_p[at - 1, text.ids[at]]) for at in places) / len(places)


def test_nothing_below_the_layer_is_computed() -> None:
    model = random_model("llama")
    upper = Upper(model, 1, [(5, 9, 33), (4, 8)], 100, SilentReporter())
    ran: list[int] = []
    handles = [
        block.mlp.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, block in enumerate(model.blocks)
    ]
    upper.run([0, 1], [torch.ones(32), None])
    for handle in handles:
        handle.remove()
    assert ran == [2]


def test_a_model_that_cannot_be_run_from_the_middle_is_run_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upper_module, "_same_from_the_middle", lambda *_: False)
    reporter = SilentReporter()
    whole = Upper(random_model("llama"), 1, [(5, 9, 33), (4, 8)], 100, reporter)
    assert "cannot be run from the middle" in reporter.notes[0]
    monkeypatch.undo()
    upper = Upper(random_model("llama"), 1, [(5, 9, 33), (4, 8)], 100, reporter)
    rows: tuple[Any, Any] = ([1, 0], [torch.ones(32), None])
    torch.testing.assert_close(whole.run(*rows)[1], upper.run(*rows)[1])
    torch.testing.assert_close(whole.run(*rows)[0, :2], upper.run(*rows)[0, :2])


def test_a_difference_from_the_middle_is_seen() -> None:
    """A model whose upper block also reads what a lower one left behind."""
    model = random_model("llama")
    left: list[torch.Tensor] = []
    model.blocks[0].mlp.register_forward_hook(lambda _module, _inputs, output: left.append(output))

    def use(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        used = output + sum(left)
        left.clear()
        return used

    model.blocks[2].mlp.register_forward_hook(use)
    reporter = SilentReporter()
    Upper(model, 1, [(5, 9, 33)], 100, reporter)
    assert "cannot be run from the middle" in reporter.notes[0]


def test_passing_over_puts_back_what_was_there(tiny_llama: LanguageModel) -> None:
    def own(hidden: torch.Tensor, **_: Any) -> torch.Tensor:
        return hidden

    before = type(tiny_llama.blocks[0]).forward
    tiny_llama.blocks[1].forward = own  # as accelerate does
    try:
        with pytest.raises(ZeroDivisionError), passing_over(tiny_llama, 1, torch.zeros(1, 1, 32)):
            raise ZeroDivisionError
        assert tiny_llama.blocks[1].forward is own
        assert tiny_llama.blocks[0].forward.__func__ is before
        assert "forward" not in vars(tiny_llama.blocks[0])
    finally:
        del tiny_llama.blocks[1].forward


# ── a planted direction ──

TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)
LAYER = 1
STRENGTH = 0.5
FAST = TrainSettings(batch_size=8, strengths=(STRENGTH,))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    """Random weights whose tokens are words, so that what is written is what is read again."""
    words = ["<unk>", "<s>", "</s>", "user", "assistant", *(f"w{number}" for number in range(59))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    return dataclasses.replace(random_model("llama", initializer_range=0.3), tokenizer=fast)


PLANTED = unit(32, 77).float()


@pytest.fixture(scope="module")
def residual_norm(model: LanguageModel) -> float:
    found: list[torch.Tensor] = []
    with torch.no_grad(), reading(model, lambda _, hidden_BTD: found.append(hidden_BTD), [LAYER]):
        run_blocks(model, torch.tensor([[3, 8, 14, 4, 20, 9]]))
    return float(found[0].norm(dim=-1).mean())


def written(model: LanguageModel, added: Sequence[torch.Tensor | None], count: int) -> list[list[str]]:
    """Answers (count, len(added)) of the model, steered with each of ``added``."""
    rows = [
        Row(
            tuple(encode_prompt(model.tokenizer, [{"role": "user", "content": question(number)}])),
            1000 * way + number,
            None if added_D is None else Steering(LAYER, added_D),
        )
        for number in range(count)
        for way, added_D in enumerate(added)
    ]
    batches = generate(model, rows, Sampling(temperature=1, max_tokens=40), len(rows))
    texts = {index: answer.text for batch in batches for index, answer in batch}
    return [[texts[len(added) * number + way] for way in range(len(added))] for number in range(count)]


def question(number: int) -> str:
    return f"w{number % 59} w{7 * number % 59}"


def pair(question: str, chosen: str, rejected: str) -> Pair:
    return Pair(prompt=({"role": "user", "content": question},), chosen=chosen, rejected=rejected, name=question)


@pytest.fixture(scope="module")
def pairs(model: LanguageModel, residual_norm: float) -> list[Pair]:
    """Chosen: written with the planted direction; rejected: with its opposite."""
    added_D = STRENGTH * residual_norm * PLANTED
    return [pair(question(n), *texts) for n, texts in enumerate(written(model, [added_D, -added_D], 40))]


@pytest.fixture(scope="module")
def from_zero(model: LanguageModel, pairs: list[Pair], residual_norm: float) -> Trained:
    return train_direction(model, pairs, LAYER, None, residual_norm, FAST, SilentReporter())


def cosine(found_D: Any, wanted_D: Any) -> float:
    found, wanted = np.asarray(found_D, np.float64), np.asarray(wanted_D, np.float64)
    return float(found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted))


def test_the_planted_direction_is_found_from_nothing(from_zero: Trained, residual_norm: float) -> None:
    assert cosine(from_zero.direction_D, PLANTED) > 0.8
    assert from_zero.direction_D.dtype == np.float32
    assert np.linalg.norm(from_zero.direction_D) == pytest.approx(STRENGTH * residual_norm, rel=1e-5)
    assert (from_zero.before, from_zero.cosine_with_start) == (None, None)


def test_adding_it_prefers_the_chosen_and_subtracting_it_the_rejected(from_zero: Trained) -> None:
    dev = from_zero.after["dev"]
    assert min(dev.chosen_preferred, dev.rejected_preferred) > 0.7
    assert dev.chosen_gain > 0.1 > -0.1 > dev.rejected_gain
    assert dev.loss < 0.5 < math.log(2)
    assert 0.2 < from_zero.unsteered_chosen_preferred < 0.8


def test_a_random_start_comes_near_it(model: LanguageModel, pairs: list[Pair], residual_norm: float) -> None:
    start_D = 3 * unit(32, 3).numpy()
    assert cosine(start_D, PLANTED) < 0.2
    found = train_direction(model, pairs, LAYER, start_D, residual_norm, FAST, SilentReporter())
    assert cosine(found.direction_D, PLANTED) > 0.6
    assert np.linalg.norm(found.direction_D) == pytest.approx(3, rel=1e-5), "as long as the start"
    assert found.before is not None
    assert found.after["dev"].loss < found.before["dev"].loss - 0.2
    assert found.cosine_with_start == pytest.approx(cosine(found.direction_D, start_D), abs=1e-5)


def test_answers_of_the_unsteered_model_are_enough(model: LanguageModel, residual_norm: float) -> None:
    answers = written(model, [STRENGTH * residual_norm * PLANTED, None], 40)
    pairs = [pair(question(n), *texts) for n, texts in enumerate(answers)]
    found = train_direction(model, pairs, LAYER, None, residual_norm, FAST, SilentReporter())
    assert cosine(found.direction_D, PLANTED) > 0.6


def test_pairs_the_other_way_round_give_the_opposite(
    model: LanguageModel, pairs: list[Pair], residual_norm: float
) -> None:
    turned = [one.model_copy(update={"chosen": one.rejected, "rejected": one.chosen}) for one in pairs]
    found = train_direction(model, turned, LAYER, None, residual_norm, FAST, SilentReporter())
    assert cosine(found.direction_D, PLANTED) < -0.8


def test_the_seed_decides(model: LanguageModel, pairs: list[Pair], residual_norm: float, from_zero: Trained) -> None:
    again = train_direction(model, pairs, LAYER, None, residual_norm, FAST, SilentReporter())
    np.testing.assert_array_equal(again.direction_D, from_zero.direction_D)
    assert again.history == from_zero.history
    other = train_direction(
        model, pairs, LAYER, None, residual_norm, FAST.model_copy(update={"seed": 1}), SilentReporter()
    )
    assert not np.array_equal(other.direction_D, from_zero.direction_D)


def test_the_best_step_is_kept(model: LanguageModel, pairs: list[Pair], residual_norm: float) -> None:
    """With steps so long that the dev loss rises again: what is returned is the best of what was seen."""
    wild = FAST.model_copy(update={"learning_rate": 3.0, "check_every": 1, "patience": 4, "batch_size": 1})
    start_D = PLANTED.numpy()
    found = train_direction(model, pairs, LAYER, start_D, residual_norm, wild, SilentReporter())
    losses = {step.step: step.dev_loss for step in found.history if step.dev_loss is not None}
    assert found.best_step == min(losses, key=lambda step: losses[step])
    assert found.after["dev"].loss == pytest.approx(losses[found.best_step], abs=1e-6)
    assert found.history[-1].step == found.best_step + 4 < wild.steps, "it stopped when its patience was over"


def test_a_start_that_is_not_bettered_stays(model: LanguageModel, pairs: list[Pair], residual_norm: float) -> None:
    best_D = train_direction(model, pairs, LAYER, PLANTED, residual_norm, FAST, SilentReporter()).direction_D
    wild = FAST.model_copy(update={"learning_rate": 100.0, "check_every": 1, "patience": 1})
    found = train_direction(model, pairs, LAYER, best_D, residual_norm, wild, SilentReporter())
    assert found.best_step == 0
    np.testing.assert_allclose(found.direction_D, best_D, rtol=1e-5)
    assert found.before == found.after
    with pytest.raises(VectorError, match="no direction was found that is better"):
        train_direction(model, pairs, LAYER, None, residual_norm, wild, SilentReporter())


def test_the_model_is_left_as_it_was(pairs: list[Pair], residual_norm: float, model: LanguageModel) -> None:
    """Also where its weights ask for gradients."""
    model.hf.requires_grad_(requires_grad=True)
    before = state(model)
    try:
        train_direction(model, pairs[:8], LAYER, None, residual_norm, SHORT, SilentReporter())
        assert all(weight.grad is None for weight in model.hf.parameters())
        assert all(weight.requires_grad for weight in model.hf.parameters())
        assert state(model) == before
    finally:
        model.hf.requires_grad_(requires_grad=False)


SHORT = FAST.model_copy(update={"steps": 2, "batch_size": 2, "learning_rate": 0.02, "check_every": 1})


def state(model: LanguageModel) -> dict[str, Any]:
    weights = {name: weight.double().sum().item() for name, weight in model.hf.state_dict().items()}
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.hf.modules()]
    forwards = ["forward" in vars(block) for block in model.blocks]
    return {**weights, "hooks": hooks, "forwards": forwards, "training": model.hf.training}


def test_bfloat16_weights_and_batches_of_any_size(
    pairs: list[Pair], residual_norm: float, model: LanguageModel
) -> None:
    small = FAST.model_copy(update={"token_budget": 1, "steps": 5})
    large = FAST.model_copy(update={"token_budget": 100_000, "steps": 5})
    one, other = (
        train_direction(model, pairs, LAYER, None, residual_norm, settings, SilentReporter())
        for settings in (small, large)
    )
    np.testing.assert_allclose(one.direction_D, other.direction_D, rtol=1e-3, atol=1e-3)
    rounded = dataclasses.replace(model, hf=copy.deepcopy(model.hf).bfloat16())
    found = train_direction(rounded, pairs, LAYER, None, residual_norm, FAST, SilentReporter())
    assert found.direction_D.dtype == np.float32
    assert cosine(found.direction_D, PLANTED) > 0.75


# ── the pairs ──


def test_the_split_is_by_prompt_and_by_seed() -> None:
    made_up = [pair(f"question {number // 2}", "a", "b") for number in range(20)]
    split = split_pairs(made_up, 0.2, 0)
    assert sorted(split.train + split.dev) == list(range(20))
    assert len(split.dev) == 4
    assert not {n // 2 for n in split.train} & {n // 2 for n in split.dev}
    assert split == split_pairs(made_up, 0.2, 0)
    assert split != split_pairs(made_up, 0.2, 1)
    assert len(split_pairs(made_up[::2][:5], 0.2, 0).dev) == 2, "at least two"
    many = split_pairs([pair(f"question {number}", "a", "b") for number in range(400)], 0.2, 0)
    assert (len(many.dev), len(many.measured["train"]), len(many.train)) == (50, 50, 350)
    with pytest.raises(FileError, match="6 pairs have 1 different prompts"):
        split_pairs([pair("q", "a", "b")] * 6, 0.2, 0)


def test_what_counts_begins_where_the_answers_diverge(model: LanguageModel) -> None:
    given = [pair(f"w{n}", "w1 w2 w3", "w1 w2 w4 w5") for n in range(5)]
    given += [pair("same", "w1", "w1"), pair("begins the other", "w1", "w1 w2")]
    reporter = SilentReporter()
    kept, examples = usable_pairs(model, given, reporter)
    assert kept == given[:5]
    words = [model.tokenizer.convert_ids_to_tokens(list(text.ids[text.begin :])) for text in _arms(examples[0])]
    assert words == [["w3"], ["w4", "w5"]]
    assert reporter.notes == ["2 pairs kept out, no answer tokens after the divergence: 'same', 'begins the other'"]


def _arms(example: Example) -> tuple[Text, Text]:
    return example.chosen, example.rejected


def test_other_prompts_of_the_rejected_are_no_part_of_its_answer(model: LanguageModel) -> None:
    other = pair("w1 w2", "w3 w4", "w3 w5").model_copy(update={"rejected_prompt": ({"role": "user", "content": "w9"},)})
    _, examples = usable_pairs(model, [other] * 5, SilentReporter())
    words = [model.tokenizer.convert_ids_to_tokens(list(text.ids[text.begin :])) for text in _arms(examples[0])]
    assert words == [["w3", "w4"], ["w3", "w5"]]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"layer": 3}, LayerError, "no layer 3"),
        ({"layer": -1}, LayerError, "no layer -1"),
        ({"start_D": np.ones(31)}, VectorError, "shape .31.* is 32 wide"),
        ({"start_D": np.full(32, np.nan)}, VectorError, "start holds NaN"),
        ({"residual_norm": 0.0}, VectorError, "must be positive"),
        ({"residual_norm": math.inf}, VectorError, "must be positive"),
        ({"pairs": []}, FileError, "0 usable pairs of 0: training needs 5"),
        ({"pairs": [pair(f"w{n}", "w1", "w2") for n in range(4)]}, FileError, "4 usable pairs of 4"),
        ({"pairs": [pair("w1", "w1 " * 99, "w2")] * 5}, ContextLengthError, "the pair 'w1'.* context is 64"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    model: LanguageModel, pairs: list[Pair], change: dict[str, Any], error: type[Exception], said: str
) -> None:
    given: dict[str, Any] = {"pairs": pairs[:8], "layer": LAYER, "start_D": None, "residual_norm": 10.0} | change
    before = state(model)
    with pytest.raises(error, match=said):
        train_direction(model, settings=SHORT, reporter=SilentReporter(), **given)
    assert state(model) == before


def test_steps_on_the_sphere_do_not_depend_on_the_basis_or_the_scale() -> None:
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    plain, turned = SphereSteps(0.1, 10), SphereSteps(0.1, 10)
    at_D, turned_D = unit(8, 2), rotation @ unit(8, 2)
    assert math.acos(float(at_D @ SphereSteps(0.1, 10)(at_D, unit(8, 5)))) == pytest.approx(0.1, rel=0.01)
    for seed in range(10):
        gradient_D = unit(8, 10 + seed)
        at_D, turned_D = plain(at_D, gradient_D), turned(turned_D, 1000 * rotation @ gradient_D)
        assert float(at_D.norm()) == pytest.approx(1)
    torch.testing.assert_close(rotation @ at_D, turned_D)
    torch.testing.assert_close(SphereSteps(0.1, 10)(at_D, 0 * at_D), at_D)


def test_measured_shares_and_gains() -> None:
    """Against likelihoods one by one."""
    model = doubled("llama")
    objective = Objective(model, EXAMPLES, 1, 1000, SilentReporter())
    unit_D = unit(32, 4)
    found = measure(objective, [0, 1], unit_D, [1.0, 3.0])

    def likelihoods(sign: int) -> list[tuple[float, float]]:
        return [
            (
                plain_likelihood(model, example.chosen, at * unit_D),
                plain_likelihood(model, example.rejected, at * unit_D),
            )
            for example in EXAMPLES
            for at in (sign * 1.0, sign * 3.0)
        ]

    plain = [plain_likelihood(model, example.chosen, 0 * unit_D) for example in EXAMPLES]
    assert found.chosen_preferred == np.mean([chosen > rejected for chosen, rejected in likelihoods(1)])
    assert found.rejected_preferred == np.mean([rejected > chosen for chosen, rejected in likelihoods(-1)])
    expected = np.mean([chosen for chosen, _ in likelihoods(1)]) - np.mean(plain)
    assert found.chosen_gain == pytest.approx(expected, rel=1e-6)
    units = [Steered(pair, sign * length) for pair in (0, 1) for length in (1.0, 3.0) for sign in (1, -1)]
    assert found.loss == pytest.approx(loss_and_gradient(objective, units, unit_D)[0], rel=1e-9)


def test_no_direction_costs_log_2() -> None:
    model = random_model("llama")
    objective = Objective(model, EXAMPLES, 1, 1000, SilentReporter())
    assert isinstance(found := measure(objective, [0, 1], torch.zeros(32), [1.0]), Measured)
    assert found.loss == pytest.approx(math.log(2), abs=1e-5)


def test_likelihoods_that_overflow_are_an_error() -> None:
    objective = Objective(random_model("llama"), EXAMPLES, 1, 1000, SilentReporter())
    objective.plain_N2[0, 1] = torch.nan
    with pytest.raises(ModelError, match="NaN or infinity"):
        loss_and_gradient(objective, UNITS, unit(32, 1).float())
