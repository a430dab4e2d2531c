import math
import random

import numpy as np
import pytest

from steer_llama.evaluation import mean_interval, paired_difference_interval
from steer_llama.evaluation.intervals import Grouped


def slow_reference(values: Grouped, resamples: int) -> tuple[float, float]:
    """The cluster bootstrap as the book tells it: question by question, with Python's own generator."""
    draw = random.Random(7)
    questions = list(values)
    means = []
    for _ in range(resamples):
        picked = [draw.choice(questions) for _ in questions]
        total = 0.0
        for question in picked:
            scored = [value for value in values[question] if value is not None]
            total += sum(scored) / len(scored)
        means.append(total / len(picked))
    means.sort()
    return means[int(0.025 * resamples)], means[int(0.975 * resamples)]


def test_agrees_with_an_independent_slow_bootstrap() -> None:
    rng = np.random.default_rng(1)
    values = {f"q{i}": list(rng.normal(50, 20, size=3)) for i in range(15)}
    interval = mean_interval(values, resamples=20_000, seed=0)
    low, high = slow_reference(values, 20_000)
    assert interval.mean == pytest.approx(np.mean([np.mean(v) for v in values.values()]))
    assert interval.low == pytest.approx(low, abs=0.4)
    assert interval.high == pytest.approx(high, abs=0.4)
    assert interval.n == 15


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for repeat in range(300):
        values = {f"q{i}": [value] for i, value in enumerate(rng.normal(10, 5, size=40))}
        interval = mean_interval(values, resamples=400, seed=repeat)
        hits += interval.low <= 10 <= interval.high
    assert 0.90 <= hits / 300 <= 0.98


def test_answers_of_one_question_are_no_new_evidence() -> None:
    once = {f"q{i}": [float(10 * i)] for i in range(8)}
    ten_times = {question: values * 10 for question, values in once.items()}
    assert mean_interval(ten_times, resamples=500, seed=3) == mean_interval(once, resamples=500, seed=3)


def test_is_narrower_when_the_same_answers_come_from_more_questions() -> None:
    rng = np.random.default_rng(4)
    levels = rng.normal(50, 20, size=6)
    clustered = {f"q{i}": list(level + rng.normal(0, 1, size=10)) for i, level in enumerate(levels)}
    apart = {f"{q}-{i}": [value] for q, answers in clustered.items() for i, value in enumerate(answers)}
    wide, narrow = mean_interval(clustered, resamples=2000, seed=0), mean_interval(apart, resamples=2000, seed=0)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_pairing_takes_out_what_the_questions_bring() -> None:
    rng = np.random.default_rng(5)
    levels = rng.normal(50, 25, size=12)
    before = {f"q{i}": [level + rng.normal(0, 2)] for i, level in enumerate(levels)}
    after = {f"q{i}": [level + 8 + rng.normal(0, 2)] for i, level in enumerate(levels)}
    paired = paired_difference_interval(after, before, resamples=4000, seed=0)
    one, other = mean_interval(after, resamples=4000, seed=0), mean_interval(before, resamples=4000, seed=1)
    assert paired.low > 0
    assert one.low < other.high, "unpaired, the two intervals overlap"
    assert paired.mean == pytest.approx(one.mean - other.mean)


def test_pairs_only_what_both_have() -> None:
    interval = paired_difference_interval(
        {"a": [3.0, None], "b": [None], "c": [9.0]}, {"a": [1.0, 2.0], "b": [5.0], "d": [0.0]}, resamples=50, seed=0
    )
    assert (interval.mean, interval.low, interval.high, interval.n) == (1.5, 1.5, 1.5, 1)


def test_leaves_unscored_values_out_and_never_counts_them_as_zero() -> None:
    interval = mean_interval({"a": [None, 80.0], "b": [None], "c": [60.0]}, resamples=50, seed=0)
    assert (interval.mean, interval.n) == (70.0, 2)


def test_nothing_scored_is_not_zero() -> None:
    interval = mean_interval({"a": [None]}, resamples=50, seed=0)
    assert interval.n == 0
    assert math.isnan(interval.mean)
    assert math.isnan(interval.low)


def test_the_order_of_the_answers_does_not_matter_and_the_seed_does() -> None:
    values: dict[str, list[float]] = {f"q{i}": [float(i * i)] for i in range(9)}
    backwards = dict(reversed(values.items()))
    first = mean_interval(values, resamples=300, seed=1)
    assert first == mean_interval(backwards, resamples=300, seed=1)
    assert first != mean_interval(values, resamples=300, seed=2)
