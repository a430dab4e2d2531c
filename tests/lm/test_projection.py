"""Projections, against float64 dot products with transformers' own hidden states."""

import numpy as np
import pytest
import torch

from steer_llama.errors import LayerError, VectorError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.projection import Axis, project
from steer_llama.lm.steering import Steering, steering
from steer_llama.lm.tokens import encode_prompt
from tests.lm.models import ARCHITECTURES, random_model
from tests.lm.test_capture import hidden_LTD

IDS = [5, 9, 33, 7, 41, 12, 3, 60, 28, 17, 11, 50, 6, 6, 31]


def directions(width: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)) * 7


def axes_at(layers: list[int], width: int) -> tuple[list[Axis], np.ndarray]:
    found_AD = directions(width, len(layers))
    return [Axis.along(layer, row_D) for layer, row_D in zip(layers, found_AD, strict=True)], found_AD


def test_float64_reference_several_axes_of_several_layers_in_one_pass() -> None:
    model = random_model("llama")
    model.hf.double()
    layers = [1, 0, 2, 1]
    axes, found_AD = axes_at(layers, 32)
    passes: list[int] = []
    handle = model.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    found = project(model, IDS, axes)
    handle.remove()
    assert len(passes) == 1
    hidden = hidden_LTD(model, IDS).numpy()
    assert hidden.dtype == np.float64
    for index, layer in enumerate(layers):
        expected_T = hidden[layer] @ found_AD[index] / np.linalg.norm(found_AD[index])
        np.testing.assert_allclose(found.along_AT[index], expected_T, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(found.norm_AT[index], np.linalg.norm(hidden[layer], axis=1), rtol=1e-10)
        for other in {0, 1, 2} - {layer}:
            wrong_T = hidden[other] @ found_AD[index] / np.linalg.norm(found_AD[index])
            assert np.abs(found.along_AT[index] - wrong_T).max() > 1e-3, "a neighbour would be noticed"


def test_the_real_model(smollm2: LanguageModel) -> None:
    ids = encode_prompt(smollm2.tokenizer, [{"role": "user", "content": "Tell me a joke 🎉 about 日本"}])
    layers = [6, 20, 28]
    axes, found_AD = axes_at(layers, smollm2.width)
    found = project(smollm2, ids, axes)
    with torch.no_grad():
        hidden = smollm2.hf(torch.tensor([ids]), output_hidden_states=True).hidden_states
    for index, layer in enumerate(layers):
        reference_TD = hidden[layer + 1][0].double().numpy()
        expected_T = reference_TD @ found_AD[index] / np.linalg.norm(found_AD[index])
        np.testing.assert_allclose(found.along_AT[index], expected_T, atol=2e-5 * float(np.linalg.norm(reference_TD)))


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_in_chunks_as_whole(architecture: str) -> None:
    """Also above the sliding windows of 8, and where only the lowest layer is wanted."""
    model = random_model(architecture)
    for layers in ([0], [1, 2]):
        axes, _ = axes_at(layers, 32)
        whole, parts = project(model, IDS, axes), project(model, IDS, axes, chunk=4)
        np.testing.assert_allclose(parts.along_AT, whole.along_AT, atol=1e-4)
        np.testing.assert_allclose(parts.norm_AT, whole.norm_AT, rtol=1e-4)


@pytest.mark.parametrize("chunk", [4, 100])
def test_steering_shifts_its_own_axis_by_what_is_added(chunk: int) -> None:
    model = random_model("llama")
    model.hf.double()
    axes, found_AD = axes_at([1, 1, 0], 32)
    added_D = torch.from_numpy(found_AD[0] * 0.37)
    plain = project(model, IDS, axes, chunk)
    with steering(model, [Steering(1, added_D)]):
        steered = project(model, IDS, axes, chunk)
    shift_AT = steered.along_AT - plain.along_AT
    np.testing.assert_allclose(shift_AT[0], 0.37 * np.linalg.norm(found_AD[0]), rtol=1e-9)
    np.testing.assert_allclose(shift_AT[1], 0.37 * found_AD[0] @ axes[1].unit_D, rtol=1e-9)
    np.testing.assert_allclose(shift_AT[2], 0, atol=1e-12)


def test_nothing_above_the_deepest_layer_runs(tiny_llama: LanguageModel) -> None:
    axes, _ = axes_at([1], 32)
    handle = tiny_llama.blocks[2].register_forward_hook(lambda *_: pytest.fail("ran"))
    try:
        project(tiny_llama, IDS, axes)
    finally:
        handle.remove()


def test_refusals(tiny_llama: LanguageModel) -> None:
    with pytest.raises(VectorError, match="layer 4 is zero"):
        Axis.along(4, np.zeros(3))
    with pytest.raises(LayerError, match="no layer 3"):
        project(tiny_llama, IDS, axes_at([3], 32)[0])
    with pytest.raises(VectorError, match="32 wide"):
        project(tiny_llama, IDS, axes_at([1], 31)[0])
