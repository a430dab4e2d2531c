import numpy as np
import pytest

from steer_llama.errors import ConfigError, LayerError, VectorError
from steer_llama.stages.size import Size, or_recommended
from tests.vectors.test_vector import vector


def test_a_strength_and_a_coefficient() -> None:
    given = vector()
    assert Size(coefficient=-2).coefficient_at(given, 7) == -2
    added = given.direction_D(7) * Size(0.3).coefficient_at(given, 7)
    assert np.linalg.norm(added) == pytest.approx(0.3 * given.residual_norm(7), rel=1e-6)
    with pytest.raises(LayerError, match="no layer 5"):
        Size(coefficient=1).coefficient_at(given, 5)
    with pytest.raises(VectorError, match="--coefficient"):
        Size(0.3).coefficient_at(vector(residual_norm_L=None), 7)


def test_what_has_no_meaning() -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        Size(1, 1)
    with pytest.raises(ConfigError, match="--coefficient nan: expected a finite number"):
        Size(coefficient=float("nan"))
    with pytest.raises(ConfigError, match="--strength 0: nothing would be added"):
        Size(0.0).not_zero()
    assert Size().not_zero() == Size()


def test_the_recommendation_stands_in_for_what_is_not_said() -> None:
    known = vector(recommended_layer=7, recommended_strength=0.2)
    assert or_recommended(known, (), Size()) == ((7,), Size(0.2))
    assert or_recommended(known, (4, 9), Size(coefficient=3)) == ((4, 9), Size(coefficient=3))
    assert or_recommended(known, (4,), Size()) == ((4,), Size(0.2))
    with pytest.raises(ConfigError, match=r"give --layer and --strength .* a strength of 0.1 to 0.4"):
        or_recommended(vector(), (), Size())
    with pytest.raises(ConfigError, match=r"give --coefficient .* a coefficient of 1"):
        or_recommended(vector(residual_norm_L=None), (4,), Size())
