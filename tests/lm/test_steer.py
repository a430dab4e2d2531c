"""Steering adds exactly the vector, to the row that asked for it, and says so when it did not run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch

from steer_llama.config import Sampling
from steer_llama.errors import LayerError, SteeringInactiveError, VectorError
from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.generation import Row, generate
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering, steering
from tests.lm.models import ARCHITECTURES, random_model

IDS_BT = torch.tensor([[5, 9, 33, 7], [41, 12, 3, 60], [28, 17, 11, 50]])


def vector(width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


def outputs_LBTD(model: LanguageModel, rows: Sequence[Steering | None]) -> torch.Tensor:
    """Every block's output as the next block sees it: the reading hooks run after the steering ones."""
    found: dict[int, torch.Tensor] = {}
    with steering(model, rows), reading(model, found.__setitem__), torch.no_grad():
        run_blocks(model, IDS_BT)
    return torch.stack([found[layer] for layer in range(model.n_layers)])


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_exact_effect(architecture: str) -> None:
    model = random_model(architecture)
    added_D = vector(model.width)
    plain, steered = outputs_LBTD(model, [None] * 3), outputs_LBTD(model, [None, Steering(1, added_D), None])
    assert torch.equal(steered[0], plain[0]), "nothing before the layer"
    assert torch.equal(steered[1, 1], plain[1, 1] + added_D), "every token of the row, by the vector"
    # Experts work on the tokens of all rows at once, which moves the rounding.
    tolerance = 1e-6 if architecture in ("mixtral", "llama4_text") else 0.0
    assert (steered - plain)[:, [0, 2]].abs().max() <= tolerance, "no other row"
    assert not torch.allclose(steered[2, 1], plain[2, 1] + added_D, atol=1e-3), "the next block works on it"


def test_rows_with_layers_of_their_own(tiny_llama: LanguageModel) -> None:
    a, b = vector(32, 1), vector(32, 2)
    plain = outputs_LBTD(tiny_llama, [None] * 3)
    steered = outputs_LBTD(tiny_llama, [Steering(0, a), Steering(2, b), Steering(0, b)])
    assert torch.equal(steered[0, 0], plain[0, 0] + a)
    assert torch.equal(steered[0, 2], plain[0, 2] + b)
    assert torch.equal(steered[:2, 1], plain[:2, 1])
    assert torch.equal(steered[2, 1], plain[2, 1] + b)


def test_bfloat16_weights() -> None:
    model = random_model("llama")
    model.hf.to(torch.bfloat16)
    steered, plain = outputs_LBTD(model, [Steering(1, vector(32))] * 3), outputs_LBTD(model, [None] * 3)
    assert steered.dtype == torch.bfloat16
    assert torch.equal(steered[1], plain[1] + vector(32).bfloat16())


@pytest.mark.parametrize(
    ("row", "error", "said"),
    [
        (Steering(3, vector(32)), LayerError, "no layer 3: .* has 3 layers, 0 to 2"),
        (Steering(-1, vector(32)), LayerError, "no layer -1"),
        (Steering(0, vector(31)), VectorError, "31.* is 32 wide"),
        (Steering(0, vector(32)[None]), VectorError, "shape"),
        (Steering(0, vector(32) * torch.nan), VectorError, "layer 0 holds NaN"),
        (Steering(0, vector(32) * torch.inf), VectorError, "infinity"),
    ],
)
def test_what_does_not_fit_is_refused(
    tiny_llama: LanguageModel, row: Steering, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said), steering(tiny_llama, [None, row]):
        pytest.fail("the context opened")


def test_a_hook_that_never_runs_is_an_error(tiny_llama: LanguageModel) -> None:
    with (
        pytest.raises(SteeringInactiveError, match=r"\[2\] never ran"),
        steering(tiny_llama, [Steering(2, vector(32))]),
    ):
        pass


def test_a_batch_of_another_size_is_an_error(tiny_llama: LanguageModel) -> None:
    with pytest.raises(SteeringInactiveError, match="2 rows were to be steered, but a batch of 3"):
        outputs_LBTD(tiny_llama, [Steering(1, vector(32)), None])


def test_hooks_are_gone_after_an_error_which_comes_through(tiny_llama: LanguageModel) -> None:
    with pytest.raises(ZeroDivisionError), steering(tiny_llama, [Steering(1, vector(32))]):
        raise ZeroDivisionError


def test_steered_generation_is_the_steered_forward_pass(tiny_llama: LanguageModel) -> None:
    """With a KV cache in batches, against a greedy loop that runs everything anew and adds the vector by itself."""
    prompts = [(5, 9, 33, 7), (41, 12), (28, 17, 11)]
    vectors = [2.0 * vector(32, 1), None, 2.0 * vector(32, 2)]
    rows = [
        Row(ids, 0, None if added is None else Steering(1, added)) for ids, added in zip(prompts, vectors, strict=True)
    ]
    found = _texts(tiny_llama, rows)
    expected = [_greedy(tiny_llama, ids, added) for ids, added in zip(prompts, vectors, strict=True)]
    assert found == expected
    unsteered = _texts(tiny_llama, [Row(ids, 0) for ids in prompts])
    assert found[1] == unsteered[1]
    assert found[0] != unsteered[0], "the steering did something"
    assert found[2] != unsteered[2]


def _texts(model: LanguageModel, rows: Sequence[Row]) -> list[str]:
    answers = dict(pair for batch in generate(model, rows, Sampling(temperature=0, max_tokens=12), 3) for pair in batch)
    return [answers[index].text for index in range(len(rows))]


def _greedy(model: LanguageModel, prompt: Sequence[int], added_D: torch.Tensor | None) -> str:
    ids = list(prompt)
    with _shifted(model, added_D), torch.no_grad():
        for _ in range(12):
            token = int(model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if token == model.tokenizer.eos_token_id:
                break
            ids.append(token)
    text: str = model.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    return text.rstrip("\ufffd").strip()


@contextmanager
def _shifted(model: LanguageModel, added_D: torch.Tensor | None) -> Iterator[None]:
    """Steer without a hook: the MLP of block 1 gets a bias, which goes to its output."""
    projection = model.blocks[1].mlp.down_proj
    projection.bias = None if added_D is None else torch.nn.Parameter(added_D.clone())
    try:
        yield
    finally:
        projection.bias = None


@pytest.fixture(autouse=True)
def no_hook_stays(tiny_llama: LanguageModel) -> Iterator[None]:
    """transformers keeps hooks of its own there."""
    before = [dict(block._forward_hooks) for block in tiny_llama.blocks]
    yield
    assert [dict(block._forward_hooks) for block in tiny_llama.blocks] == before
