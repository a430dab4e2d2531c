import math

import numpy as np
import pytest

from steer_llama.evaluation.anti_steered import anti_steered
from steer_llama.evaluation.intervals import paired_effect_interval
from tests.evaluation.trials import trial, trials


def test_the_wrong_way_and_ties_are_told_apart() -> None:
    plain, steered = trials("unsteered", [10, 20, 30, 40]), trials("steered", [5, 20, 60, 70])
    more = anti_steered(steered, plain, wanted="more", resamples=500, seed=0)
    assert more is not None
    assert (more.share.mean, more.tied.mean, more.share.n) == (0.25, 0.25, 4)
    assert more.share.low == 0
    less = anti_steered(steered, plain, wanted="less", resamples=500, seed=0)
    assert less is not None
    assert (less.share.mean, less.tied.mean) == (0.5, 0.25)


def test_each_sample_is_held_against_its_own() -> None:
    plain = [trial(score=10, sample=0), trial(score=90, sample=1)]
    steered = [trial("steered", 50, sample=0), trial("steered", 50, sample=1), trial("steered", 99, sample=2)]
    found = anti_steered(steered, plain, wanted="more", resamples=10, seed=0)
    assert found is not None
    assert (found.share.mean, found.share.n) == (0.5, 1), "the third has nothing to be held against"


def test_unscored_answers_moved_nowhere() -> None:
    plain = trials("unsteered", [10, None, 10])
    found = anti_steered(trials("steered", [None, 50, 5]), plain, wanted="more", resamples=10, seed=0)
    assert found is not None
    assert (found.share.mean, found.share.n) == (1.0, 1)
    assert anti_steered(trials("steered", [None]), plain, wanted="more", resamples=10, seed=0) is None


def test_cohens_d_of_pairs() -> None:
    before = {f"q{n}": [float(n)] for n in range(6)}
    change = [4.0, 6.0, 5.0, 7.0, 3.0, 8.0]
    after = {f"q{n}": [n + change[n], None] for n in range(6)}
    found = paired_effect_interval(after, before, resamples=2000, seed=0)
    assert found.mean == pytest.approx(np.mean(change) / np.std(change, ddof=1))
    assert found.low < found.mean < found.high
    assert found.n == 6


def test_no_spread_no_effect_size() -> None:
    before = {"a": [1.0], "b": [2.0]}
    for values in ({"a": [2.0], "b": [3.0]}, {"a": [2.0]}, {}):
        found = paired_effect_interval(values, before, resamples=10, seed=0)
        assert found.n == 0
        assert math.isnan(found.mean)
