import numpy as np
import pytest

from steer_llama.errors import VectorError
from steer_llama.vectors import ESTIMATORS, Recipe, Resampling, SteeringVector
from steer_llama.vectors.estimators import mean_diff
from steer_llama.vectors.removal import orthogonal_to, without_shared_mean
from tests.vectors.planted import planted
from tests.vectors.test_estimators import cosine


def test_the_shared_mean_is_taken_out() -> None:
    case = planted(0)
    shared = (case.chosen_ND + case.rejected_ND).mean(axis=0)
    leaning = case.chosen_ND + 0.1 * shared
    before, after = (estimate(leaning, case.rejected_ND)[0] for estimate in (mean_diff, without_shared_mean(mean_diff)))
    mean = (leaning + case.rejected_ND).mean(axis=0)
    assert abs(cosine(before, mean)) > 0.8
    assert abs(cosine(after, mean)) < 1e-12
    assert case.cosine(after) > 0.9 > case.cosine(before)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_nothing_of_the_others_is_left(name: str) -> None:
    case = planted(1, width=40)
    random = np.random.default_rng(0)
    others = random.standard_normal((4, 40)).astype(np.float32)
    others[2] = others[0] - 2 * others[1]  # spans nothing new
    others[3] = 0
    found = orthogonal_to(ESTIMATORS[name], others)(case.chosen_ND, case.rejected_ND)[0]
    assert max(abs(cosine(found, other)) for other in others[:3]) < 1e-9
    kept = np.linalg.norm(found) / np.linalg.norm(ESTIMATORS[name](case.chosen_ND, case.rejected_ND))
    assert 0.8 < kept < 1


def other(direction_D: np.ndarray, **changes: object) -> SteeringVector:
    facts = {
        "directions_LD": direction_D[None].astype(np.float32),
        "layers": (5,),
        "residual_norm_L": None,
        "model": "m",
        "model_fingerprint": "f",
        "trait": "t",
        "estimator": "",
        "positions": "",
    }
    return SteeringVector(**(facts | changes))  # type: ignore[arg-type]


def test_a_recipe_tells_what_it_costs() -> None:
    case = planted(2, n_pairs=80)
    resampling = Resampling.draw(80, 10, 0)
    own = Recipe("mean_diff").at(5)(case.chosen_ND, case.rejected_ND)[0]
    recipe = Recipe("mean_diff", others={"self": other(own), "nothing": other(np.zeros(256))})
    found = recipe.costs(5, case.chosen_ND, case.rejected_ND, resampling)
    assert found["cosine:self"] == pytest.approx(1)
    assert found["cosine:nothing"] == 0
    assert found["norm_kept"] < 1e-6
    assert found["held_out_auroc_before"] > 0.5
    assert Recipe("pca").costs(5, case.chosen_ND, case.rejected_ND, resampling) == {}


def test_vectors_of_other_models_are_refused() -> None:
    recipe = Recipe("mean_diff", others={"o": other(np.ones(8))})
    recipe.check_fits("m", "f", (5,), 8)
    recipe.check_fits("m", "", (5,), 8)
    for fingerprint, layers, width, says in (
        ("f", (5,), 9, "o: is 8 wide, but the activations are 9 wide"),
        ("g", (5,), 8, "o: was fitted on other weights"),
        ("f", (5, 6), 8, "o: has no layer 6"),
    ):
        with pytest.raises(VectorError, match=says):
            recipe.check_fits("m", fingerprint, layers, width)
