"""Every mode does to the residual stream exactly what its formula says, token by token, and to no other token."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from steer_llama.errors import ConfigError, LayerError, SteeringInactiveError, VectorError
from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import ALL, DIVERGENCE, PROMPT, RESPONSE, Gate, RowSteering, Span, Steering, steering
from tests.lm.models import random_model

IDS_BT = torch.tensor([[5, 9, 33, 7, 61, 62], [41, 12, 3, 60, 8, 9], [28, 17, 11, 50, 2, 44]])
ANSWERS = [2, 3, 4]
"""Where each row's answer begins."""
LAYER = 1


def vector(seed: int = 0, width: int = 32) -> Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


def outputs(model: LanguageModel, rows: Sequence[RowSteering], ids_BT: Tensor = IDS_BT) -> list[Tensor]:
    """Every block's output as the next block sees it: the reading hooks run after the steering ones."""
    found: dict[int, Tensor] = {}
    with steering(model, rows, ANSWERS[: len(rows)]), reading(model, found.__setitem__), torch.no_grad():
        run_blocks(model, ids_BT)
    return [found[layer] for layer in range(model.n_layers)]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    model = random_model("llama")
    model.hf.to(torch.float64)
    return model


def unit(v: Tensor) -> Tensor:
    return v.double() / v.double().norm()


FORMULAS: dict[str, tuple[Steering, Callable[[Tensor], Tensor]]] = {
    "add": (Steering(LAYER, vector()), lambda h: h + vector().double()),
    "keep_norm": (
        Steering(LAYER, vector(), mode="keep_norm"),
        lambda h: (h + vector()) / (h + vector()).norm(dim=-1, keepdim=True) * h.norm(dim=-1, keepdim=True),
    ),
    "project_out": (
        Steering(LAYER, 7 * vector(), mode="project_out"),
        lambda h: h - (h @ unit(vector()))[..., None] * unit(vector()),
    ),
    "clamp": (
        Steering(LAYER, 7 * vector(), mode="clamp", low=-0.005, high=0.005),
        lambda h: h + ((h @ unit(vector())).clamp(-0.005, 0.005) - h @ unit(vector()))[..., None] * unit(vector()),
    ),
    "floor": (
        Steering(LAYER, vector(), mode="clamp", low=0.3),
        lambda h: h + ((h @ unit(vector())).clamp(min=0.3) - h @ unit(vector()))[..., None] * unit(vector()),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(
    ("span", "steered"),
    [
        (ALL, lambda after: after > -99),
        (PROMPT, lambda after: after < 0),
        (RESPONSE, lambda after: after >= 0),
        (DIVERGENCE, lambda after: after >= -1),
        (Span(1, 3), lambda after: (after >= 1) & (after < 3)),
    ],
)
def test_the_exact_effect(model: LanguageModel, name: str, span: Span, steered: Callable[[Tensor], Tensor]) -> None:
    given, formula = FORMULAS[name]
    given = Steering(given.layer, given.vector_D, given.mode, span, given.low, given.high)
    plain, found = outputs(model, [None] * 3), outputs(model, [None, given, given])
    after_BT = torch.arange(6)[None] - torch.tensor(ANSWERS)[:, None]
    chosen_BT = steered(after_BT)
    chosen_BT[0] = False
    expected_BTD = torch.where(chosen_BT[..., None], formula(plain[LAYER]), plain[LAYER])
    assert (found[LAYER] - expected_BTD).abs().max() < 2e-7  # the vectors are in float32
    assert torch.equal(found[LAYER][~chosen_BT], plain[LAYER][~chosen_BT])
    assert chosen_BT.any(), "the case steers something"
    assert not torch.allclose(expected_BTD[chosen_BT], plain[LAYER][chosen_BT], atol=1e-3)
    assert torch.equal(found[0], plain[0])


def test_decay(model: LanguageModel) -> None:
    plain = outputs(model, [None] * 3)
    found = outputs(model, [Steering(LAYER, vector(), half_life=2.0)] * 3)
    for row, answer in enumerate(ANSWERS):
        for token in range(6):
            share = 0.5 ** (max(0, token - answer) / 2)
            expected_D = plain[LAYER][row, token] + share * vector()
            assert torch.allclose(found[LAYER][row, token], expected_D, atol=1e-6), (row, token)


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("gate_layer", [None, 0])
def test_a_gate_decides_token_by_token(model: LanguageModel, above: bool, gate_layer: int | None) -> None:
    condition = vector(9)
    plain = outputs(model, [None] * 3)
    read = plain[LAYER if gate_layer is None else gate_layer]
    projection_BT = read @ unit(condition)
    threshold = float(projection_BT.median())
    gated = Steering(LAYER, vector(), gate=Gate(5 * condition, threshold, above, gate_layer))
    found = outputs(model, [gated, None, gated])
    open_BT = (projection_BT >= threshold) if above else (projection_BT < threshold)
    open_BT[1] = False
    assert 0 < open_BT.sum() < 12
    expected_BTD = torch.where(open_BT[..., None], plain[LAYER] + vector(), plain[LAYER])
    assert (found[LAYER] - expected_BTD).abs().max() < 1e-6


def test_a_row_may_be_steered_several_times_in_order(model: LanguageModel) -> None:
    """First added to, then capped: the other way round the sum would go over the cap."""
    first, second = Steering(LAYER, vector()), Steering(LAYER, vector(), mode="clamp", high=0.5)
    other = Steering(2, vector(4), span=RESPONSE)
    plain = outputs(model, [None] * 3)
    found = outputs(model, [(first, second, other), (second, first), (other,)])
    projected = [found[LAYER][row] @ unit(vector()) for row in (0, 1)]
    assert projected[0].max() <= 0.5 + 1e-6
    expected = (plain[LAYER][1] @ unit(vector())).clamp(max=0.5) + vector().norm()
    assert torch.allclose(projected[1], expected, atol=1e-5)
    assert torch.equal(found[LAYER][2], plain[LAYER][2])
    assert torch.allclose(found[2][2, 4:], plain[2][2, 4:] + vector(4), atol=1e-6)
    assert torch.equal(found[2][2, :4], plain[2][2, :4])


def test_later_passes_go_on_where_the_first_one_ended(model: LanguageModel) -> None:
    """With a cache: the answer's tokens come one by one, and the decay counts on."""
    from transformers import DynamicCache

    row = Steering(LAYER, vector(), span=RESPONSE, half_life=1.5)
    whole = outputs(model, [row] * 3)
    found: list[Tensor] = []
    cache = DynamicCache(config=model.hf.config)
    seen: dict[int, Tensor] = {}
    with steering(model, [row] * 3, ANSWERS), reading(model, seen.__setitem__), torch.no_grad():
        for columns in (slice(0, 3), slice(3, 4), slice(4, 6)):
            run_blocks(model, IDS_BT[:, columns], torch.ones(3, columns.stop), cache)
            found.append(seen[LAYER])
    assert torch.allclose(torch.cat(found, dim=1), whole[LAYER], atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FORMULAS)
def test_in_other_types(name: str, dtype: torch.dtype) -> None:
    model = random_model("llama")
    model.hf.to(dtype)
    given, formula = FORMULAS[name]
    plain, found = outputs(model, [None] * 3), outputs(model, [given] * 3)
    assert found[LAYER].dtype == dtype
    error = (found[LAYER].double() - formula(plain[LAYER].double())).abs().max()
    assert error < (1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (Steering(3, vector()), LayerError, "no layer 3"),
        (Steering(1, vector(width=31)), VectorError, "31.* is 32 wide"),
        (Steering(1, torch.zeros(32), mode="project_out"), VectorError, "is zero"),
        (Steering(1, vector(), mode="clamp"), ConfigError, "at least one bound"),
        (Steering(1, vector(), mode="clamp", low=2, high=1), ConfigError, "the lower one first"),
        (Steering(1, vector(), mode="clamp", low=math.nan), ConfigError, "at least one bound"),
        (Steering(1, vector(), high=1), ConfigError, "belong to the mode clamp"),
        (Steering(1, vector(), half_life=0), ConfigError, "half-life 0"),
        (Steering(1, vector(), gate=Gate(vector(), 0, layer=2)), ConfigError, "comes before it"),
        (Steering(1, vector(), gate=Gate(torch.zeros(32), 0)), VectorError, "is zero"),
        (Steering(1, vector(), gate=Gate(vector(), math.inf)), ConfigError, "finite"),
    ],
)
def test_what_has_no_sense_is_refused(
    tiny_llama: LanguageModel, given: Steering, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said), steering(tiny_llama, [None, given], [1, 1]):
        pytest.fail("the context opened")


def test_where_the_answers_begin_must_be_said(tiny_llama: LanguageModel) -> None:
    with pytest.raises(ConfigError, match="answer begins"), steering(tiny_llama, [Steering(1, vector(), span=PROMPT)]):
        pytest.fail("the context opened")


def test_a_gated_layer_that_never_ran_is_told(tiny_llama: LanguageModel) -> None:
    given = Steering(2, vector(), gate=Gate(vector(), 0, layer=0))
    with (
        pytest.raises(SteeringInactiveError, match=r"layers \[0, 2\] never ran"),
        steering(tiny_llama, [given], [1]),
    ):
        pass
