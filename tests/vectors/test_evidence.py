import tracemalloc

import numpy as np
import pytest

from steer_llama.vectors import ESTIMATORS, as_columns, layer_evidence, mean_difference
from steer_llama.vectors.estimators.mean_difference import _COLUMNS


def noise(n_pairs: int, width: int, seed: int, planted: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two arms of noise around a common question, and a planted difference along the first axis."""
    random = np.random.default_rng(seed)
    common = random.standard_normal((n_pairs, width)) * 5
    chosen, rejected = (common + random.standard_normal((n_pairs, width)) for _ in range(2))
    chosen[:, 0] += planted
    return chosen.astype(np.float32), rejected.astype(np.float32)


def test_the_mean_difference_is_exact() -> None:
    chosen, rejected = noise(37, 2 * _COLUMNS + 5, seed=0)
    chosen += 1000
    rejected += 1000
    slow = np.zeros(chosen.shape[1])
    for c, r in zip(chosen, rejected, strict=True):
        slow += c.astype(np.float64) - r.astype(np.float64)
    found = mean_difference(chosen, rejected)
    assert found.shape == (1, chosen.shape[1])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], slow / 37, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_weights_stand_for_pairs(name: str) -> None:
    """Every estimator: a row of weights gives what the pairs that it stands for give."""
    estimate = ESTIMATORS[name]
    chosen, rejected = noise(6, 40, seed=1, planted=1)
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
    np.testing.assert_allclose(estimate(chosen, rejected, weights), expected, rtol=1e-9, atol=1e-12)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_evidence_against_a_slow_reference() -> None:
    chosen, rejected = noise(25, 60, seed=2, planted=2)
    found = layer_evidence(mean_difference, chosen, rejected, 1000, seed=0)
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
    opposed = np.mean([cosine(d, difference.sum(axis=0) - d) < 0 for d in difference])
    assert found.norm == pytest.approx(np.linalg.norm(direction))
    assert found.opposed_share == pytest.approx(opposed)
    assert found.bootstrap_cosine == pytest.approx(
        (np.mean(boot_cosine), *np.quantile(boot_cosine, [0.025, 0.975])), abs=0.015
    )
    assert found.bootstrap_norm == pytest.approx(np.quantile(boot_norm, [0.025, 0.975]), rel=0.03)
    assert found.null_norm == pytest.approx(np.quantile(null, 0.95), rel=0.03)
    assert found.split_half_cosine == pytest.approx(np.mean(halves), abs=0.04)


def test_a_planted_direction_is_told_from_noise() -> None:
    planted = layer_evidence(mean_difference, *noise(60, 64, seed=3, planted=5), 200, seed=0)
    assert planted.bootstrap_cosine is not None
    assert planted.bootstrap_norm is not None
    assert planted.null_norm is not None
    assert planted.split_half_cosine is not None
    assert planted.bootstrap_cosine[1] > 0.8
    assert planted.split_half_cosine > 0.7
    assert planted.norm > 1.5 * planted.null_norm
    assert planted.opposed_share == 0
    low, high = planted.bootstrap_norm
    assert low < planted.norm < high


def test_noise_stays_below_the_null_norm_nineteen_times_in_twenty() -> None:
    below, halves, opposed = 0, [], []
    for seed in range(200):
        found = layer_evidence(mean_difference, *noise(20, 32, seed=1000 + seed), 100, seed=seed)
        assert found.null_norm is not None
        assert found.split_half_cosine is not None
        below += found.norm < found.null_norm
        halves.append(found.split_half_cosine)
        opposed.append(found.opposed_share or 0.0)
    assert 0.89 <= below / 200 <= 0.99
    assert abs(np.mean(halves)) < 0.03
    assert 0.4 < np.mean(opposed) < 0.6


def test_one_pair_has_no_intervals_and_two_have() -> None:
    chosen, rejected = noise(2, 8, seed=4)
    one = layer_evidence(mean_difference, chosen[:1], rejected[:1], 50, seed=0)
    assert one.norm > 0
    assert (one.bootstrap_cosine, one.bootstrap_norm, one.split_half_cosine, one.null_norm, one.opposed_share) == (
        None, None, None, None, None,
    )  # fmt: skip
    assert as_columns([one]) == {"norm": [one.norm]}
    two = layer_evidence(mean_difference, chosen, rejected, 50, seed=0)
    assert two.split_half_cosine == pytest.approx(cosine(chosen[0] - rejected[0], chosen[1] - rejected[1]))
    assert layer_evidence(mean_difference, chosen, rejected, 0, seed=0).null_norm is None


def test_a_zero_direction_has_evidence_too() -> None:
    same = np.ones((5, 4), np.float32)
    found = layer_evidence(mean_difference, same, same, 20, seed=0)
    assert (found.norm, found.bootstrap_cosine, found.null_norm) == (0, (0, 0, 0), 0)


def test_a_seed_gives_the_same_again() -> None:
    arms = noise(9, 12, seed=5)
    first, again, other = (layer_evidence(mean_difference, *arms, 300, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_columns_have_an_entry_per_layer() -> None:
    layers = [layer_evidence(mean_difference, *noise(6, 8, seed=seed), 20, seed=0) for seed in range(3)]
    columns = as_columns(layers)
    assert columns["norm"] == [layer.norm for layer in layers]
    assert columns["bootstrap_cosine"] == {
        key: [(layer.bootstrap_cosine or ())[place] for layer in layers]
        for place, key in enumerate(("mean", "low", "high"))
    }
    assert columns["bootstrap_norm"] == {
        key: [(layer.bootstrap_norm or ())[place] for layer in layers] for place, key in enumerate(("low", "high"))
    }


def test_memory_stays_near_that_of_the_data() -> None:
    random = np.random.default_rng(0)
    chosen, rejected = (random.standard_normal((1000, 2048), dtype=np.float32) for _ in range(2))
    tracemalloc.start()
    layer_evidence(mean_difference, chosen, rejected, 200, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * chosen.nbytes  # 200 copies would be 200 times that
