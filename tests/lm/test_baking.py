"""A baked folder gives the logits that a hook at the block's output gives, in every architecture that is claimed."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from steer_llama.errors import LayerError, ModelError, VectorError
from steer_llama.lm.baking import bake_checkpoint, place_of, plan_baking
from steer_llama.lm.baking.families import FAMILIES
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering, steering
from steer_llama.progress import SilentReporter
from tests.lm.baking_models import BAKEABLE, LAYERS, SHAPE, WIDTH, opened, save_model, save_random
from tests.lm.models import ARCHITECTURES

IDS_BT = torch.tensor([[5, 9, 33, 7, 41, 12, 3, 60, 28, 17, 11, 50]])
TOLERANCE = 1e-4


def vector(seed: int = 0) -> np.ndarray:
    return 3 * np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)


def logits(model: LanguageModel, added: Mapping[int, np.ndarray]) -> torch.Tensor:
    with ExitStack() as hooks, torch.no_grad():
        for layer, vector_D in added.items():
            hooks.enter_context(steering(model, [Steering(layer, torch.from_numpy(vector_D))]))
        found: torch.Tensor = model.hf(IDS_BT, attention_mask=torch.ones_like(IDS_BT), use_cache=False).logits
    return found


def furthest(mine: torch.Tensor, other: torch.Tensor) -> float:
    return float((mine - other).abs().max())


@pytest.mark.parametrize("kind", sorted(BAKEABLE))
def test_the_logits_are_the_hooks(kind: str, tmp_path: Path) -> None:
    source = save_random(tmp_path / "source", kind)
    original = opened(source)
    assert len(original.blocks) == LAYERS
    hooked = [logits(original, {layer: vector()}) for layer in range(LAYERS)]
    plain = logits(original, {})
    for layer in range(LAYERS):
        out = tmp_path / f"baked-{layer}"
        baking = bake_checkpoint(source, {layer: vector()}, out, SilentReporter())
        found = logits(opened(out), {})
        assert furthest(found, hooked[layer]) <= TOLERANCE
        assert furthest(found, plain) > 0.1, "it does something"
        for neighbour in set(range(LAYERS)) - {layer}:
            assert furthest(found, hooked[neighbour]) > 0.01, f"layer {layer}, not {neighbour}"
        assert baking.rounding[layer] < 1e-5


def test_every_family_that_is_claimed_is_tested() -> None:
    assert {model_type for model_type, _ in BAKEABLE.values()} == set(FAMILIES)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "granite", "opt 350m"])
def test_several_layers_at_once(kind: str, tmp_path: Path) -> None:
    source = save_random(tmp_path / "source", kind)
    added = {0: vector(1), 2: -vector(2)}
    bake_checkpoint(source, added, tmp_path / "baked", SilentReporter())
    assert furthest(logits(opened(tmp_path / "baked"), {}), logits(opened(source), added)) <= TOLERANCE


@pytest.mark.parametrize("kind", ["llama", "llama with biases", "qwen2 tied", "gpt2"])
def test_baked_twice(kind: str, tmp_path: Path) -> None:
    """A baked folder is a model like any other; the second vector comes on top of the first."""
    source = save_random(tmp_path / "source", kind)
    bake_checkpoint(source, {1: vector(1)}, tmp_path / "once", SilentReporter())
    bake_checkpoint(tmp_path / "once", {1: vector(2), 2: vector(3)}, tmp_path / "twice", SilentReporter())
    expected = logits(opened(source), {1: vector(1) + vector(2), 2: vector(3)})
    assert furthest(logits(opened(tmp_path / "twice"), {}), expected) <= TOLERANCE


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_round_the_vector_and_say_so(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    source = save_random(tmp_path / "source", kind, dtype)
    baking = bake_checkpoint(source, {1: vector()}, tmp_path / "baked", SilentReporter())
    baked = opened(tmp_path / "baked", dtype)
    assert baked.hf.dtype == dtype
    # The weights are as they were, and what was added can be read off.
    before, after = opened(source, dtype).hf.state_dict(), baked.hf.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if "1." not in name)
    path = "model.layers.1.mlp.down_proj.bias" if kind == "llama" else "gpt_neox.layers.1.mlp.dense_4h_to_h.bias"
    added = after[path].double() - (before[path].double() if path in before else 0)
    error = float((added - torch.from_numpy(vector()).double()).norm() / np.linalg.norm(vector()))
    assert baking.rounding[1] == pytest.approx(error)
    assert 1e-4 < error < 0.02
    (note,) = baking.notes
    assert f"layer 1: the weights are {str(dtype)[6:]}" in note
    assert f"{error:.1%}" in note


def test_too_large_for_float16(tmp_path: Path) -> None:
    source = save_random(tmp_path / "source", "llama", torch.float16)
    with pytest.raises(ModelError, match=r"layer 1: the bias is too large .*float16"):
        plan_baking(source, {1: vector() * 1e5})


@pytest.mark.parametrize(
    ("added", "error", "said"),
    [
        ({}, VectorError, "no layer"),
        ({3: vector()}, LayerError, "no layer 3: .* has 3 layers, 0 to 2"),
        ({-1: vector()}, LayerError, "no layer -1"),
        ({1: vector()[:-1]}, VectorError, "31.* is 32 wide"),
        ({1: vector()[None]}, VectorError, "shape"),
        ({1: vector() * np.nan}, VectorError, "NaN"),
        ({1: vector() * 0}, VectorError, "is zero"),
    ],
)
def test_vectors_that_do_not_fit(
    added: dict[int, np.ndarray], error: type[Exception], said: str, tmp_path: Path
) -> None:
    source = save_random(tmp_path / "source", "llama")
    with pytest.raises(error, match=said):
        bake_checkpoint(source, added, tmp_path / "baked", SilentReporter())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - set(FAMILIES)))
def test_other_architectures_are_refused_with_a_reason(architecture: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be baked: its .*--to gguf"):
        place_of({"model_type": architecture, **ARCHITECTURES[architecture]}, "m")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "mistral", **SHAPE}, "sliding window of 4096"),  # the class's default
        ({"model_type": "mistral", **SHAPE, "sliding_window": 8}, "sliding window of 8"),
        ({"model_type": "qwen2", **ARCHITECTURES["qwen2"]}, "sliding window of 8"),
        ({"model_type": "opt", "enable_bias": False}, "'enable_bias': false"),
        ({"model_type": "starcoder2", "use_bias": False}, "'use_bias': false"),
        ({"model_type": "falcon"}, "'bias': false"),
        ({"model_type": "opt", "do_layer_norm_before": False, "layer_norm_elementwise_affine": False}, "norm without"),
        ({"model_type": "bloom", "slow_but_exact": True, "pretraining_tp": 2}, "slow_but_exact"),
        ({"model_type": "granite", **SHAPE, "residual_multiplier": 0.0}, "residual_multiplier"),
        ({"model_type": "llama", **SHAPE, "auto_map": {"AutoModelForCausalLM": "m.M"}}, "auto_map"),
        ({"model_type": "llama", **SHAPE, "hidden_size": 33}, "config.json cannot be read"),
        ({"model_type": "newest"}, "a newest model cannot be baked: no place"),
        ({}, "a None model"),
    ],
)
def test_configurations_that_are_refused(config: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        place_of(config, "m")


def test_a_window_that_is_switched_off_is_none(tmp_path: Path) -> None:
    """As Qwen2.5 has it: a window in the file, and a setting that says not to use it."""
    settings = {**SHAPE, "use_sliding_window": False, "sliding_window": 8, "max_window_layers": 1}
    source = save_model(tmp_path / "source", "qwen2", settings)
    bake_checkpoint(source, {1: vector()}, tmp_path / "baked", SilentReporter())
    expected = logits(opened(source), {1: vector()})
    assert furthest(logits(opened(tmp_path / "baked"), {}), expected) <= TOLERANCE


@pytest.mark.parametrize("model_type", ["mistral", "qwen2"])
def test_what_a_file_leaves_to_its_class_is_written_out(model_type: str) -> None:
    """A Llama has other defaults than they have, so a file that leaves them out would mean another model."""
    given = {"model_type": model_type, "hidden_size": 64, "num_attention_heads": 16, "sliding_window": None}
    full = AutoConfig.for_model(**given)
    config = place_of(given, "m").config
    assert config is not None
    llama = AutoConfig.for_model(**config)
    assert llama.model_type == "llama"
    same = ["vocab_size", "intermediate_size", "num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "hidden_act"]
    same += ["max_position_embeddings", "rope_parameters", "bos_token_id", "eos_token_id", "tie_word_embeddings"]
    for key in same:
        assert getattr(llama, key) == getattr(full, key), key
    assert getattr(llama, "bos_token_id", 0) == (1 if model_type == "mistral" else None)
    assert llama.attention_bias == (model_type == "qwen2")
    assert llama.mlp_bias
    assert not {"sliding_window", "layer_types", "use_sliding_window"} & set(config)
