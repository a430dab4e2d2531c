"""Every estimator against a reference that somebody else wrote, and what all have to do alike."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from steer_llama.vectors import ESTIMATORS
from steer_llama.vectors.estimators import lda, logistic, mean_diff, pca, robust_mean_diff
from steer_llama.vectors.estimators.lda import ledoit_wolf
from steer_llama.vectors.estimators.mean_diff import _COLUMNS
from tests.vectors.planted import planted

OTHERS = sorted(set(ESTIMATORS) - {"mean_diff"})


def noise(n_pairs: int, width: int, seed: int, planted: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two arms of noise around a common question, and a planted difference along the first axis."""
    random = np.random.default_rng(seed)
    common = random.standard_normal((n_pairs, width)) * 5
    chosen, rejected = (common + random.standard_normal((n_pairs, width)) for _ in range(2))
    chosen[:, 0] += planted
    return chosen.astype(np.float32), rejected.astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_mean_diff_is_exact() -> None:
    chosen, rejected = noise(37, 2 * _COLUMNS + 5, seed=0)
    chosen += 1000
    rejected += 1000
    slow = np.zeros(chosen.shape[1])
    for c, r in zip(chosen, rejected, strict=True):
        slow += c.astype(np.float64) - r.astype(np.float64)
    found = mean_diff(chosen, rejected)
    assert found.shape == (1, chosen.shape[1])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], slow / 37, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.parametrize("width", [4, 40], ids=["more pairs than dimensions", "fewer"])
def test_weights_stand_for_pairs(name: str, width: int) -> None:
    """Every estimator: a row of weights gives what the pairs that it stands for give."""
    estimate = ESTIMATORS[name] if name != "lda" else lambda *arms: lda(*arms, shrinkage=0.3)
    chosen, rejected = noise(6, width, seed=1, planted=1)
    rows = np.array([0, 0, 3, 5, 5, 5])
    swap = np.array([1, -1, 1, 1, -1, -1])
    weights = np.stack(
        [np.bincount(rows, minlength=6) / 6, swap / 6, np.array([0, 0.5, 0, 0.5, 0, 0]), np.full(6, 1 / 6)]
    )
    flipped = [np.where(swap[:, None] > 0, *arms) for arms in ((chosen, rejected), (rejected, chosen))]
    expected = [
        estimate(chosen[rows], rejected[rows])[0],
        estimate(*flipped)[0],
        estimate(chosen[[1, 3]], rejected[[1, 3]])[0],
        estimate(chosen, rejected)[0],
    ]
    np.testing.assert_allclose(estimate(chosen, rejected, weights), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OTHERS)
def test_swapping_the_arms_turns_the_direction_round(name: str) -> None:
    chosen, rejected = noise(12, 30, seed=2, planted=3)
    np.testing.assert_allclose(
        ESTIMATORS[name](rejected, chosen), -ESTIMATORS[name](chosen, rejected), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", OTHERS)
def test_a_direction_is_as_long_as_the_arms_lie_apart(name: str) -> None:
    case = planted(3, strength=5.0)
    direction = ESTIMATORS[name](case.chosen_ND, case.rejected_ND)[0]
    assert direction @ (case.chosen_ND - case.rejected_ND).mean(axis=0) > 0
    apart = (case.chosen_ND - case.rejected_ND).mean(axis=0) @ direction / np.linalg.norm(direction)
    assert np.linalg.norm(direction) == pytest.approx(apart, rel=0.01)
    assert np.linalg.norm(direction) == pytest.approx(5.0, rel=0.1)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_little_and_nothing(name: str) -> None:
    estimate = ESTIMATORS[name]
    same = np.ones((5, 4), np.float32)
    assert (estimate(same, same) == 0).all()
    alike = noise(7, width=8, seed=3)[0]
    assert (estimate(alike, alike) == 0).all()
    chosen, rejected = noise(1, 8, seed=4)
    np.testing.assert_allclose(estimate(chosen, rejected)[0], (chosen - rejected)[0], rtol=1e-4)
    chosen, rejected = noise(2, 8, seed=4)
    assert np.isfinite(estimate(chosen, rejected, np.array([[1.0, 0.0], [0.5, -0.5]]))).all()


@pytest.mark.parametrize(("n_pairs", "width"), [(9, 5), (40, 12)])
def test_the_robust_mean_against_a_general_minimiser(n_pairs: int, width: int) -> None:
    chosen, rejected = noise(n_pairs, width, seed=5, planted=2)
    chosen[0] += 50
    difference = chosen.astype(np.float64) - rejected
    weights = np.random.default_rng(0).dirichlet(np.ones(n_pairs))
    for row in (None, weights):
        share = np.full(n_pairs, 1 / n_pairs) if row is None else row

        def total(point: np.ndarray, share: np.ndarray = share) -> float:
            return float(share @ np.linalg.norm(difference - point, axis=1))

        best = minimize(total, difference.mean(axis=0), method="BFGS", options={"gtol": 1e-9}).x
        found = robust_mean_diff(chosen, rejected, None if row is None else row[None])[0]
        np.testing.assert_allclose(found, best, atol=1e-4)
        assert total(found) <= total(best) * (1 + 1e-9)


@pytest.mark.parametrize("n_pairs", [8, 30, 450])
def test_pca_against_scikit_learn(n_pairs: int) -> None:
    chosen, rejected = noise(n_pairs, 20, seed=6, planted=1.5)
    difference = chosen.astype(np.float64) - rejected
    mirrored = PCA(n_components=1, svd_solver="full").fit(np.concatenate([difference, -difference])).components_[0]
    centred = PCA(n_components=1, svd_solver="full").fit(difference).components_[0]
    for axis, found in (
        (mirrored, pca(chosen, rejected)[0]),
        (centred, pca(chosen, rejected, centred=True)[0]),
    ):
        along = axis @ difference.mean(axis=0)
        np.testing.assert_allclose(found, axis * along, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("n_pairs", "width"), [(15, 60), (60, 15)])
def test_the_probe_against_scikit_learn_on_the_differences_themselves(n_pairs: int, width: int) -> None:
    chosen, rejected = noise(n_pairs, width, seed=7, planted=1.0)
    difference = chosen.astype(np.float64) - rejected
    scaled = difference / np.sqrt((difference**2).sum(axis=1).mean())
    # λ/2 ‖w‖² beside a mean loss is C = 1 / (λ · number of rows) beside scikit-learn's sum.
    model = LogisticRegression(C=1 / (0.01 * 2 * n_pairs), fit_intercept=False, tol=1e-10, max_iter=10000)
    model.fit(np.concatenate([scaled, -scaled]), [1] * n_pairs + [0] * n_pairs)
    assert cosine(logistic(chosen, rejected)[0], model.coef_[0]) > 1 - 1e-6


@pytest.mark.parametrize(("n_pairs", "width"), [(10, 60), (100, 12)])
@pytest.mark.parametrize("shrinkage", [0.05, 0.5])
def test_lda_against_scikit_learn(n_pairs: int, width: int, shrinkage: float) -> None:
    chosen, rejected = noise(n_pairs, width, seed=8, planted=1.0)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    reference.fit(np.concatenate([chosen, rejected]).astype(np.float64), [1] * n_pairs + [0] * n_pairs)
    assert cosine(lda(chosen, rejected, shrinkage=shrinkage)[0], reference.coef_[0]) > 1 - 1e-9


@pytest.mark.parametrize(("n_answers", "width"), [(12, 80), (200, 10)])
def test_the_shrinkage_is_ledoit_and_wolfs(n_answers: int, width: int) -> None:
    random = np.random.default_rng(9)
    answers = random.standard_normal((n_answers, width)) * np.linspace(1, 4, width)
    answers -= answers.mean(axis=0)
    share = np.full(n_answers, 1 / n_answers)
    expected = ledoit_wolf_shrinkage(answers, assume_centered=True)
    for covariance in (answers @ answers.T / n_answers, answers.T @ answers / n_answers):
        found = ledoit_wolf(covariance, (answers**2).sum(axis=1), share, width)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n_pairs", "width"), [(10, 60), (100, 12)])
def test_the_shrinkage_is_that_of_the_pairs_that_count(n_pairs: int, width: int) -> None:
    """A pair that is held out has no say, not even in the shrinkage; and arms that are swapped belong to the others."""
    chosen, rejected = noise(n_pairs, width, seed=10, planted=3.0)
    half = n_pairs // 2
    outlier = chosen.copy()
    outlier[half:] += 1000
    swap = np.where(np.arange(half) % 2, -1.0, 1.0)
    weights = np.zeros((2, n_pairs))
    weights[:, :half] = np.stack([np.ones(half), swap]) / half
    arms = [chosen[:half], rejected[:half]]
    swapped = [np.where(swap[:, None] > 0, *two) for two in (arms, arms[::-1])]
    expected = np.concatenate([lda(*arms), lda(*swapped)])
    np.testing.assert_allclose(lda(outlier, rejected, weights), expected, rtol=1e-4, atol=1e-5)
