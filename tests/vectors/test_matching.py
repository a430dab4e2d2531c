import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from steer_llama.errors import ConfigError
from steer_llama.vectors import ESTIMATORS, LINEAR, Confounds, Matching, Resampling, layer_evidence
from steer_llama.vectors.estimators import OF_DIFFERENCES, mean_diff
from tests.vectors.planted import planted


def test_the_matched_mean_is_the_intercept_of_a_regression() -> None:
    case = planted(0, n_pairs=40, width=30, position=2.0, length=1.0)
    weights = np.random.default_rng(1).dirichlet(np.ones(40), 3)
    found = Matching(case.confounds).matched(mean_diff, linear=True)(case.chosen_ND, case.rejected_ND, weights)
    for row, direction in zip(weights, found, strict=True):
        model = LinearRegression().fit(
            case.confounds.differences_NK, case.chosen_ND - case.rejected_ND, sample_weight=row
        )
        np.testing.assert_allclose(direction, model.intercept_, rtol=1e-8, atol=1e-10)


def test_other_weights_or_other_activations_are_the_same() -> None:
    """What holds for linear estimators by their weights, the others get by activations; on a linear one both agree."""
    case = planted(1, n_pairs=30, width=20, position=1.0)
    random = np.random.default_rng(2)
    weights = np.concatenate([random.dirichlet(np.ones(30), 2), random.choice([-1, 1], (2, 30)) / 30])
    matching = Matching(case.confounds)
    one, other = (
        matching.matched(mean_diff, linear=linear)(case.chosen_ND, case.rejected_ND, weights)
        for linear in (True, False)
    )
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_swapping_all_arms_turns_a_matched_direction_round(name: str) -> None:
    case = planted(2, n_pairs=30, width=20, position=1.0)
    estimate = Matching(case.confounds).matched(ESTIMATORS[name], linear=name == "mean_diff")
    swapped = estimate(case.chosen_ND, case.rejected_ND, np.full((1, 30), -1 / 30))
    np.testing.assert_allclose(swapped, -estimate(case.chosen_ND, case.rejected_ND), rtol=1e-4, atol=1e-6)


def test_confounds_that_are_alike_change_nothing() -> None:
    case = planted(3, n_pairs=20)
    same = np.random.default_rng(0).random((20, 2))
    confounds = Confounds(("a", "b"), same, same).check()
    assert confounds.names == ()
    matched = Matching(confounds).matched(mean_diff, linear=True)
    np.testing.assert_allclose(
        matched(case.chosen_ND, case.rejected_ND), mean_diff(case.chosen_ND, case.rejected_ND), rtol=1e-12
    )
    assert Matching(confounds).effective_pairs == pytest.approx(20)
    assert Matching(confounds).explained(case.chosen_ND, case.rejected_ND) == 0


def test_what_cannot_be_told_from_the_trait_is_refused() -> None:
    values = np.random.default_rng(0).random((30, 1))
    with pytest.raises(ConfigError, match=r"--match: length differs by the same amount \(2\) in every pair"):
        Confounds(("length",), values + 2, values).check()


def test_too_few_pairs_are_refused() -> None:
    random = np.random.default_rng(0)
    chosen, rejected = random.random((2, 11, 3))
    with pytest.raises(ConfigError, match=r"11 pairs cannot settle 3 confounds \(a, b, c\); at least 12 are needed"):
        Confounds(("a", "b", "c"), chosen, rejected).check()
    assert Confounds(("a", "b"), chosen[:, :2], rejected[:, :2]).check().names == ("a", "b")


def test_what_confounds_explain_and_cost() -> None:
    case = planted(4, n_pairs=60, noise=0.01, position=2.0)
    matching = Matching(case.confounds)
    assert matching.explained(case.chosen_ND, case.rejected_ND) > 0.99
    effective = Matching(Confounds(("position",), case.confounds.chosen_NK[:, :1], case.confounds.rejected_NK[:, :1]))
    # The variance of an intercept: (1/N) (1 + mean² / variance of the regressor).
    difference = case.confounds.differences_NK[:, 0]
    assert effective.effective_pairs == pytest.approx(60 / (1 + difference.mean() ** 2 / difference.var()), rel=1e-9)


def test_collinear_confounds_are_no_trouble() -> None:
    case = planted(5, n_pairs=40, position=2.0)
    columns = [0, 0, 1]
    twice = Confounds(("a", "b", "c"), case.confounds.chosen_NK[:, columns], case.confounds.rejected_NK[:, columns])
    once, again = (
        Matching(confounds).matched(mean_diff, linear=True)(case.chosen_ND, case.rejected_ND)
        for confounds in (case.confounds, twice.check())
    )
    np.testing.assert_allclose(once, again, rtol=1e-7, atol=1e-9)


def confounded_noise(seed: int, n_pairs: int, width: int, n_confounds: int) -> tuple[np.ndarray, np.ndarray, Confounds]:
    """No trait at all; what differs is what confounds make, which are much larger in the chosen arm."""
    random = np.random.default_rng(seed)
    confounds = Confounds(
        tuple("abc"[:n_confounds]),
        random.normal(3, 1, (n_pairs, n_confounds)),
        random.normal(1, 1, (n_pairs, n_confounds)),
    )
    axes = np.eye(n_confounds, width)
    chosen = random.standard_normal((n_pairs, width)) + confounds.chosen_NK @ axes
    return chosen, random.standard_normal((n_pairs, width)) + confounds.rejected_NK @ axes, confounds


def null_p(name: str, case: tuple[np.ndarray, np.ndarray, Confounds], count: int) -> float:
    chosen, rejected, confounds = case
    matching = Matching(confounds.check())
    estimate = matching.matched(ESTIMATORS[name], linear=name in LINEAR, of_differences=name in OF_DIFFERENCES)
    found = layer_evidence(estimate, chosen, rejected, Resampling.draw(len(chosen), count, 0)).stability
    assert found is not None
    return found.null_p


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.parametrize(("n_pairs", "width", "n_confounds"), [(40, 32, 1), (16, 400, 3)])
def test_what_confounds_make_is_not_called_found(name: str, n_pairs: int, width: int, n_confounds: int) -> None:
    """The null is as noisy as the matched direction: p is uniform without a trait (LDA's, of few pairs, larger)."""
    p = [null_p(name, confounded_noise(seed, n_pairs, width, n_confounds), 19) for seed in range(40)]
    assert 0.35 < np.mean(p) < (1 if name == "lda" else 0.65)
    assert np.mean(np.array(p) <= 0.05) < 0.2


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_a_trait_beside_confounds_is_found(name: str) -> None:
    case = planted(6, n_pairs=60, width=64, position=2.0, length=2.0)
    assert null_p(name, (case.chosen_ND, case.rejected_ND, case.confounds), 39) == pytest.approx(1 / 40)


@pytest.mark.parametrize("name", sorted(OF_DIFFERENCES))
@pytest.mark.parametrize("width", [20, 50])
def test_the_space_of_the_differences_is_enough(name: str, width: int) -> None:
    chosen, rejected, confounds = confounded_noise(1, 30, width, 2)
    weights = np.random.default_rng(2).dirichlet(np.ones(30), 3) * np.random.default_rng(3).choice([-1, 1], (3, 30))
    weights[2, :10] = 0
    weights[2] /= np.abs(weights[2]).sum()
    one, other = (
        Matching(confounds).matched(ESTIMATORS[name], linear=False, of_differences=short)(chosen, rejected, weights)
        for short in (False, True)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
