"""Shares against scipy, and against what they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from steer_llama.evaluation import flip_p, share_change_interval, share_interval


@pytest.mark.parametrize(("yes", "n"), [(0, 12), (12, 12), (14, 40), (1, 3)])
def test_the_share_is_scipys_wilson(yes: int, n: int) -> None:
    expected = stats.binomtest(yes, n).proportion_ci(method="wilson")
    found = share_interval(yes, n)
    assert (found.mean, found.n) == (yes / n, n)
    assert found.low == pytest.approx(expected.low, abs=1e-6)
    assert found.high == pytest.approx(expected.high, abs=1e-6)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 0), (0, 5), (4, 4), (2, 9), (7, 8)])
def test_flips_are_scipys_binomial_test(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert flip_p(gained, lost) == pytest.approx(expected)


def test_nothing_changed_does_not_mean_that_nothing_can() -> None:
    found = share_change_interval(0, 0, 40)
    assert found.mean == 0
    assert found.low == -found.high
    assert 0.03 < found.high < 0.07


def test_the_change_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    cells = rng.multinomial(40, [0.05, 0.15, 0.8], size=2000)
    hits = [(i := share_change_interval(gained, lost, 40)).low <= -0.1 <= i.high for gained, lost, _ in cells]
    assert 0.93 <= np.mean(hits) <= 0.98


@pytest.mark.parametrize(("gained", "lost"), [(0, 10), (10, 0), (5, 5), (1, 2)])
def test_the_change_stays_between_its_ends(gained: int, lost: int) -> None:
    found = share_change_interval(gained, lost, 10)
    assert found.mean == pytest.approx((gained - lost) / 10)
    assert -1 <= found.low <= found.mean <= found.high <= 1


def test_nothing_asked_is_not_zero() -> None:
    for found in (share_interval(0, 0), share_change_interval(0, 0, 0)):
        assert math.isnan(found.mean)
        assert found.n == 0


def test_impossible_counts() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        share_interval(5, 4)
    with pytest.raises(ValueError, match="3 gained and 2 lost of 4"):
        share_change_interval(3, 2, 4)
