"""KL and likelihood, unsteered against steered, against plain logits in float64."""

import pytest
import torch
from torch import Tensor

from steer_llama.errors import ContextLengthError, SteeringInactiveError
from steer_llama.lm import divergence
from steer_llama.lm.divergence import Divergence, Passage, divergences
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering
from steer_llama.lm.vocabulary import to_logits
from tests.lm.models import random_model

PASSAGES = [
    Passage((5, 9, 33, 7, 41), 2),
    Passage((41, 12, 3, 60, 28, 17, 11, 50), 0),
    Passage((28, 17), 1),
    Passage((19, 20, 21), 1),
]


def vector(width: int, size: float = 1.0) -> Tensor:
    return size * torch.randn(width, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def sharp(architecture: str = "llama", dtype: torch.dtype = torch.float64) -> LanguageModel:
    """Far from uniform, so that a difference shows."""
    model = random_model(architecture)
    model.hf.to(dtype)
    model.hf.get_output_embeddings().weight.mul_(20)
    return model


def found(model: LanguageModel, steered: tuple[Steering, ...], batch_size: int = 4) -> list[Divergence]:
    got = {index: one for batch in divergences(model, PASSAGES, steered, batch_size) for index, one in batch}
    assert sorted(got) == list(range(len(PASSAGES)))
    return [got[index] for index in range(len(PASSAGES))]


def reference(model: LanguageModel, passage: Passage, layer: int, added_D: Tensor) -> tuple[float, float, float]:
    """KL and nats of one passage alone, from the model's own logits and a hook of our own."""

    def log_p() -> Tensor:
        with torch.no_grad():
            return torch.log_softmax(model.hf(torch.tensor([passage.ids])).logits[0].double(), dim=-1)

    def hook(_module: object, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        return output + added_D if isinstance(output, Tensor) else (output[0] + added_D, *output[1:])

    plain = log_p()
    handle = model.hf.model.layers[layer].register_forward_hook(hook)
    steered = log_p()
    handle.remove()
    kl = sum(
        float(plain[at, token].exp()) * float(plain[at, token] - steered[at, token])
        for at in range(passage.start, len(passage.ids))
        for token in range(plain.shape[1])
    )

    def nats(log_p: Tensor) -> float:
        return -sum(float(log_p[at, passage.ids[at + 1]]) for at in range(passage.start, len(passage.ids) - 1))

    return kl, nats(plain), nats(steered)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-3)])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "granite"])
def test_equals_the_plain_logits(architecture: str, dtype: torch.dtype, tolerance: float) -> None:
    model, added_D = sharp(architecture, dtype), vector(32).to(dtype)
    for passage, got in zip(PASSAGES, found(model, (Steering(1, added_D),)), strict=True):
        kl, plain, steered = reference(model, passage, 1, added_D)
        assert kl > 0.01
        assert got.positions == len(passage.ids) - passage.start
        assert got.tokens == got.positions - 1
        assert got.kl == pytest.approx(kl, rel=tolerance)
        assert got.nats_unsteered == pytest.approx(plain, rel=tolerance)
        assert got.nats_steered == pytest.approx(steered, rel=tolerance)


def test_the_layer_is_the_one_that_was_named() -> None:
    model, added_D = sharp(), vector(32)
    got = found(model, (Steering(1, added_D),))[1].kl
    for other in (0, 2):
        assert abs(got - reference(model, PASSAGES[1], other, added_D)[0]) > 1e-3


@pytest.mark.parametrize("batch_size", [1, 3, 9])
def test_neither_batches_nor_chunks_change_it(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, steered = sharp(), (Steering(1, vector(32)),)
    whole = found(model, steered, 4)
    monkeypatch.setattr(divergence, "POSITIONS_AT_ONCE", 3)
    for got, expected in zip(found(model, steered, batch_size), whole, strict=True):
        assert (got.positions, got.tokens) == (expected.positions, expected.tokens)
        for name in ("kl", "nats_unsteered", "nats_steered"):
            assert getattr(got, name) == pytest.approx(getattr(expected, name), rel=1e-9, abs=1e-9)


def test_no_more_positions_are_projected_at_once_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []

    def counting(model: LanguageModel, hidden: Tensor) -> Tensor:
        widths.append(len(hidden))
        return to_logits(model, hidden)

    monkeypatch.setattr(divergence, "to_logits", counting)
    monkeypatch.setattr(divergence, "POSITIONS_AT_ONCE", 3)
    found(sharp(), ())
    assert max(widths) == 3
    assert sum(widths) == 2 * sum(len(passage.ids) - passage.start for passage in PASSAGES)


@pytest.mark.parametrize("steered", [(), (Steering(1, torch.zeros(32)),)], ids=["nothing", "zero"])
def test_no_steering_is_no_divergence(steered: tuple[Steering, ...]) -> None:
    for got in found(sharp(dtype=torch.float32), steered):
        assert 0 <= got.kl < 1e-7
        assert got.nats_steered == pytest.approx(got.nats_unsteered, abs=1e-4)


def test_more_steering_diverges_more() -> None:
    model = sharp()
    sizes = [sum(one.kl for one in found(model, (Steering(1, vector(32, size)),))) for size in (0.05, 0.5, 50.0)]
    assert 0 < sizes[0] < sizes[1] < sizes[2]


def test_what_cannot_be_read() -> None:
    model = sharp()
    with pytest.raises(ValueError, match="cannot start at 2"):
        list(divergences(model, [Passage((1, 2), 2)], (), 2))
    with pytest.raises(ContextLengthError, match="70 tokens"):
        list(divergences(model, [Passage((1,) * 70, 0)], (), 2))


def test_a_silent_hook_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sharp()
    monkeypatch.setattr(divergence, "run_blocks", lambda _model, ids, _attention: torch.zeros(*ids.shape, 32))
    with pytest.raises(SteeringInactiveError):
        found(model, (Steering(1, vector(32)),))
