"""Blocks fused for the CPU against transformers' own code."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing import FusedBlocks, ModelCode, fused, not_fusable
from steer_llama.lm.reading import PackedReader, Wanted
from steer_llama.lm.reading.alone import read_alone
from steer_llama.lm.reading.suitable import fastest_blocks
from tests.lm.models import random_model
from tests.lm.test_packed_reader import ALL, assert_same, groups, read


def trained(architecture: str, **settings: Any) -> LanguageModel:
    """Random biases and norms too, which a fresh model has at zero and one."""
    model = random_model(architecture, **settings)
    random = torch.Generator().manual_seed(1)
    for name, parameter in model.hf.named_parameters():
        if "norm" in name or "bias" in name:
            parameter.copy_(torch.rand(parameter.shape, generator=random) + 0.5)
    return model


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "other rotation": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0}}),
    "window": ("mistral", {}),
    "windows in some layers": ("qwen2", {}),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_they_equal_each_conversation_by_itself(kind: str) -> None:
    architecture, settings = KINDS[kind]
    model = trained(architecture, **settings)
    blocks = fastest_blocks(model)
    assert isinstance(blocks, FusedBlocks)
    for root in (0, 17):
        pairs = groups(root)
        expected = [(read_alone(model, a, ALL), read_alone(model, b, ALL)) for a, b in pairs]
        for budget in (1000, 80, 21):
            for found, alone in zip(read(PackedReader(model, budget, blocks=blocks), pairs), expected, strict=True):
                assert_same(found[0], alone[0])
                assert_same(found[1], alone[1])


def test_nothing_above_the_deepest_layer_is_computed(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = FusedBlocks(tiny_llama)
    full = read(PackedReader(tiny_llama, 1000, blocks=blocks), groups(0))
    monkeypatch.setattr(blocks, "_blocks", [*blocks._blocks[:2], None])
    found = read(PackedReader(tiny_llama, 1000, blocks=blocks), groups(0), Wanted((1,)))
    np.testing.assert_array_equal(found[0][0].mean_PLD, full[0][0].mean_PLD[:, 1:2])


def test_bfloat16_is_nearer_to_float32_than_transformers_code(smollm2: LanguageModel) -> None:
    pairs, every = groups(0), Wanted(tuple(range(30)), tokens=True)
    exact = read(PackedReader(smollm2, 1000), pairs, every)
    small = replace(smollm2, hf=type(smollm2.hf)(smollm2.hf.config).to(torch.bfloat16).eval())
    small.hf.load_state_dict(smollm2.hf.state_dict())
    small.hf.requires_grad_(requires_grad=False)
    errors = []
    for blocks in (FusedBlocks(small), ModelCode(small)):
        found = read(PackedReader(small, 1000, blocks=blocks), pairs, every)
        tokens = found[0][0].tokens_LTD
        assert tokens is not None
        assert tokens.dtype == torch.bfloat16
        means, expected = (np.stack([arm.mean_PLD[0] for pair in each for arm in pair]) for each in (found, exact))
        errors.append(np.linalg.norm(means - expected) / np.linalg.norm(expected))
    assert errors[0] < errors[1] < 0.02


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (random_model("gemma2"), "Gemma2DecoderLayer is none of"),
        (random_model("llama", hidden_act="gelu"), "the activation function is gelu"),
        (replace(random_model("llama"), hf=random_model("llama").hf.double()), "the weights are float64"),
    ],
)
def test_what_is_not_fused(model: LanguageModel, reason: str) -> None:
    assert reason in str(not_fusable(model))
    assert reason in fastest_blocks(model).about


def test_a_changed_model_is_not_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sliced(torch.nn.Linear):  # type: ignore[misc]
        pass

    model = random_model("llama")
    assert not_fusable(model) is None
    handle = model.blocks[1].mlp.register_forward_hook(lambda *_: None)
    assert "hooks" in str(not_fusable(model))
    handle.remove()
    monkeypatch.setattr(fused, "_SHARE", 0.0)
    assert "too much" in str(not_fusable(model))
    monkeypatch.undo()
    monkeypatch.setattr(fused, "available_bytes", lambda: 0)
    assert "that are left" in str(not_fusable(model))
    monkeypatch.undo()
    model.blocks[2].mlp.up_proj.__class__ = Sliced
    assert "quantised or sliced" in str(not_fusable(model))


def test_hooks_that_transformers_leaves_behind_are_no_obstacle() -> None:
    model = random_model("llama")
    model.hf(torch.tensor([[1, 2, 3]]), output_hidden_states=True)
    assert any(block._forward_hooks for block in model.blocks), "it leaves some"
    assert not_fusable(model) is None


def test_a_trial_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("llama")
    monkeypatch.setattr(fused, "_turned", lambda heads_RHA, *_: heads_RHA.clone())
    assert "a trial was" in fastest_blocks(model).about
    monkeypatch.setattr(fused, "PackedMatrix", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fastest_blocks(model)

    def missing(*_: object) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute")

    monkeypatch.setattr(fused, "PackedMatrix", missing)
    assert "failed on a trial" in fastest_blocks(model).about


def test_a_quantised_layer_has_no_weight_to_look_at() -> None:
    model = random_model("llama")
    model.blocks[1].mlp.up_proj = torch.nn.Identity()
    assert "quantised" in str(not_fusable(model))
