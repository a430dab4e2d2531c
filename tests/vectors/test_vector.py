from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from steer_llama.errors import InputError, LayerError, VectorError
from steer_llama.vectors import SteeringVector


def vector(**changes: Any) -> SteeringVector:
    random = np.random.default_rng(0)
    whole = SteeringVector(
        directions_LD=random.standard_normal((3, 16)).astype(np.float32),
        layers=(4, 7, 9),
        residual_norm_L=np.array([10, 20, 30], np.float32),
        model="m",
        model_fingerprint="abc",
        trait="emoji",
        estimator="mean_diff",
        positions="response",
    )
    return replace(whole, **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"directions_LD": np.zeros((2, 16), np.float32)}, r"shape \(2, 16\) for 3 layers"),
        ({"directions_LD": np.zeros(3, np.float32)}, r"shape \(3,\) for 3 layers"),
        ({"directions_LD": np.zeros((3, 0), np.float32)}, r"shape \(3, 0\)"),
        ({"directions_LD": np.zeros((0, 16), np.float32), "layers": ()}, "for 0 layers"),
        ({"directions_LD": np.full((3, 16), np.nan, np.float32)}, "NaN or infinity"),
        ({"residual_norm_L": np.array([1, np.inf, 1], np.float32)}, "positive and finite"),
        ({"residual_norm_L": np.array([1, 0, 1], np.float32)}, "must be positive"),
        ({"residual_norm_L": np.ones(2, np.float32)}, r"residual_norm has shape \(2,\); expected \(3,\)"),
        ({"layers": (1, 1, 2)}, "each must stand once"),
        ({"layers": (-1, 1, 2)}, "0 or more"),
        ({"recommended_layer": 5}, "no layer 5; it has 4, 7, 9"),
        ({"recommended_strength": float("nan")}, "the recommended strength is nan"),
    ],
)
def test_what_is_no_vector(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        vector(**changes)


@pytest.mark.parametrize("layer", [4, 7, 9])
@pytest.mark.parametrize("strength", [0.1, 1.0, -0.5, 0.0])
def test_a_strength_is_a_share_of_the_residuals_norm(layer: int, strength: float) -> None:
    given = vector()
    norm = {4: 10, 7: 20, 9: 30}[layer]
    scaled_D = given.scaled_D(layer, strength)
    assert np.linalg.norm(scaled_D) == pytest.approx(abs(strength) * norm, rel=1e-6)
    np.testing.assert_allclose(given.coefficient(layer, strength) * given.direction_D(layer), scaled_D, rtol=1e-6)
    if strength:
        assert np.sign(scaled_D @ given.direction_D(layer)) == np.sign(strength)
    random_D = given.random_like_D(layer, strength, seed=1)
    assert np.linalg.norm(random_D) == pytest.approx(abs(strength) * norm, rel=1e-6)
    assert (random_D == given.random_like_D(layer, strength, seed=1)).all()
    if strength:
        assert (random_D != given.random_like_D(layer, strength, seed=2)).any()
    assert scaled_D.dtype == random_D.dtype == np.float32


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_a_very_small_or_large_direction_has_the_same_strength(size: float) -> None:
    given = vector(directions_LD=np.full((3, 16), size, np.float32))
    assert np.linalg.norm(given.scaled_D(4, 0.5)) == pytest.approx(5, rel=1e-6)


def test_a_zero_direction_has_no_strength() -> None:
    given = vector(directions_LD=np.zeros((3, 16), np.float32))
    with pytest.raises(VectorError, match="the direction of layer 7 is zero"):
        given.scaled_D(7, 0.1)


def test_a_layer_that_it_has_not() -> None:
    for use in (
        vector().direction_D,
        lambda layer: vector().scaled_D(layer, 1),
        lambda layer: vector().random_like_D(layer, 1, 0),
    ):
        with pytest.raises(LayerError, match="the vector has no layer 5; it has 4, 7, 9"):
            use(5)
    with pytest.raises(LayerError, match="it has 4 to 6"):
        vector(layers=(4, 5, 6)).direction_D(7)


def test_the_model_that_it_is_for() -> None:
    given = vector()
    given.check_fits("m", "abc", 10, 16)
    with pytest.raises(VectorError, match=r"the vector is 16 wide \(for m\), but other is 32 wide"):
        given.check_fits("other", "abc", 10, 32)
    with pytest.raises(VectorError, match="has a layer 9, but other has layers 0 to 8"):
        given.check_fits("other", "abc", 9, 16)
    with pytest.raises(VectorError, match=r"other weights \(m\) than other.*--any-model"):
        given.check_fits("other", "abd", 10, 16)
    vector(model_fingerprint="").check_fits("any", "xyz", 10, 16)


def test_far_layers_cost_nothing() -> None:
    with pytest.raises(LayerError, match=f"it has 4, 7, {2**60}"):
        vector(layers=(4, 7, 2**60)).direction_D(5)
