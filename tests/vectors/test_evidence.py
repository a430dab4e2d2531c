import tracemalloc

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from steer_llama.vectors import ESTIMATORS, LayerEvidence, Resampling, Stability, as_columns, layer_evidence
from steer_llama.vectors.estimators import mean_diff
from tests.vectors.test_estimators import cosine, noise


def stability(*arms: np.ndarray, count: int, seed: int, name: str = "mean_diff") -> Stability:
    chosen, rejected = arms
    found = layer_evidence(ESTIMATORS[name], chosen, rejected, Resampling.draw(len(chosen), count, seed)).stability
    assert found is not None
    return found


def test_evidence_against_a_slow_reference() -> None:
    chosen, rejected = noise(25, 60, seed=2, planted=2)
    found = stability(chosen, rejected, count=1000, seed=0)
    difference = chosen.astype(np.float64) - rejected
    direction = difference.mean(axis=0)
    random = np.random.default_rng(99)
    boot = [difference[random.integers(0, 25, 25)].mean(axis=0) for _ in range(4000)]
    boot_cosine, boot_norm = [cosine(b, direction) for b in boot], [np.linalg.norm(b) for b in boot]
    null = [np.linalg.norm((difference * random.choice([-1, 1], (25, 1))).mean(axis=0)) for _ in range(4000)]
    halves = []
    for _ in range(2000):
        order = random.permutation(25)
        halves.append(cosine(difference[order[:12]].mean(axis=0), difference[order[12:]].mean(axis=0)))
    assert found.bootstrap_cosine == pytest.approx(
        (np.mean(boot_cosine), *np.quantile(boot_cosine, [0.025, 0.975])), abs=0.015
    )
    assert found.bootstrap_norm == pytest.approx(np.quantile(boot_norm, [0.025, 0.975]), rel=0.03)
    assert found.null_norm == pytest.approx(np.quantile(null, 0.95), rel=0.03)
    assert found.null_p == pytest.approx(np.mean(null >= np.linalg.norm(direction)), abs=0.025)
    assert found.split_half_cosine == pytest.approx(np.mean(halves), abs=0.04)


def test_separation_is_measured_on_pairs_that_were_held_out() -> None:
    chosen, rejected = noise(23, 60, seed=2, planted=4)
    resampling = Resampling.draw(23, 10, seed=3)
    assert resampling is not None
    assert (np.sum(resampling.folds_FN == 0, axis=0) == 1).all(), "every pair is held out once"
    found = stability(chosen, rejected, count=10, seed=3).held_out
    projected = np.zeros((2, 23))
    for weights in resampling.folds_FN:
        known, unknown = np.flatnonzero(weights), np.flatnonzero(weights == 0)
        unit = (chosen[known].astype(float) - rejected[known]).mean(axis=0)
        unit /= np.linalg.norm(unit)
        middle = (chosen[known].astype(float).mean(axis=0) + rejected[known].mean(axis=0)) / 2
        projected[:, unknown] = [(arm[unknown] - middle) @ unit for arm in (chosen, rejected)]
    assert found.auroc == pytest.approx(mannwhitneyu(*projected).statistic / 23**2)
    pooled = np.sqrt(projected.var(axis=1, ddof=1).mean())
    assert found.cohens_d == pytest.approx((projected[0].mean() - projected[1].mean()) / pooled)
    assert found.opposed_share == pytest.approx((projected[0] < projected[1]).mean())


def test_a_planted_direction_is_told_from_noise() -> None:
    arms = noise(60, 64, seed=3, planted=5)
    planted = stability(*arms, count=200, seed=0)
    norm = float(np.linalg.norm(mean_diff(*arms)))
    assert planted.bootstrap_cosine[1] > 0.8
    assert planted.split_half_cosine > 0.7
    assert norm > 1.5 * planted.null_norm
    assert planted.null_p == pytest.approx(1 / 201)
    assert planted.held_out.opposed_share == 0
    assert planted.held_out.auroc > 0.7
    low, high = planted.bootstrap_norm
    assert low < norm < high


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_noise_is_called_noise(name: str) -> None:
    """No estimator makes something of nothing, on pairs that it has not seen."""
    runs = 200 if name == "mean_diff" else 40
    below, halves, opposed, auroc, p = 0, [], [], [], []
    for seed in range(runs):
        arms = noise(20, 32, seed=1000 + seed)
        found = stability(*arms, count=100 if name == "mean_diff" else 20, seed=seed, name=name)
        below += int(np.linalg.norm(ESTIMATORS[name](*arms)) < found.null_norm)
        halves.append(found.split_half_cosine)
        opposed.append(found.held_out.opposed_share)
        auroc.append(found.held_out.auroc)
        p.append(found.null_p)
    assert below / runs >= 0.85
    assert name != "mean_diff" or below / runs <= 0.99
    assert abs(np.mean(halves)) < 0.06
    assert 0.4 < np.mean(opposed) < 0.6
    assert 0.46 < np.mean(auroc) < 0.54
    assert 0.35 < np.mean(p) < 0.65


def test_one_pair_has_no_intervals_and_two_have() -> None:
    chosen, rejected = noise(2, 8, seed=4)
    assert Resampling.draw(1, 50, seed=0) is None
    assert Resampling.draw(2, 0, seed=0) is None
    one = layer_evidence(mean_diff, chosen[:1], rejected[:1], None)
    assert one.norm > 0
    assert as_columns([one]) == {"norm": [one.norm]}
    two = stability(chosen, rejected, count=50, seed=0)
    assert two.split_half_cosine == pytest.approx(cosine(chosen[0] - rejected[0], chosen[1] - rejected[1]))


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_a_zero_direction_has_evidence_too(name: str) -> None:
    same = np.ones((5, 4), np.float32)
    found = stability(same, same, count=20, seed=0, name=name)
    assert (found.bootstrap_cosine, found.null_norm, found.null_p) == ((0, 0, 0), 0, 1)
    assert (found.held_out.auroc, found.held_out.cohens_d, found.held_out.opposed_share) == (0.5, None, 0)


def test_a_seed_gives_the_same_again() -> None:
    arms = noise(9, 12, seed=5)
    first, again, other = (stability(*arms, count=300, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_columns_have_an_entry_per_layer() -> None:
    layers = []
    for seed in range(3):
        arms = noise(6, 8, seed=seed)
        layers.append(LayerEvidence(float(seed), stability(*arms, count=20, seed=0)))
    columns = as_columns(layers)
    assert columns["norm"] == [0, 1, 2]
    found = [layer.stability for layer in layers if layer.stability]
    assert columns["bootstrap_cosine"] == {
        key: [each.bootstrap_cosine[place] for each in found] for place, key in enumerate(("mean", "low", "high"))
    }
    assert columns["held_out_auroc"] == [each.held_out.auroc for each in found]
    assert {len(value) for value in columns.values() if isinstance(value, list)} == {3}


def test_memory_stays_near_that_of_the_data() -> None:
    random = np.random.default_rng(0)
    chosen, rejected = (random.standard_normal((1000, 2048), dtype=np.float32) for _ in range(2))
    resampling = Resampling.draw(1000, 200, 0)
    tracemalloc.start()
    layer_evidence(mean_diff, chosen, rejected, resampling)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * chosen.nbytes  # 200 copies would be 200 times that
