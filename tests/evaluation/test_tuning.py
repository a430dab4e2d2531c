"""The search for strengths, on outcomes whose best is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from steer_llama.errors import InputError
from steer_llama.evaluation.tuning import Outcome, Point, Strengths, best, best_alone, fixed_points, search

BOUNDS = ((-0.3, 0.3), (-0.3, 0.3))
RECOMMENDED = (0.2, None)


@dataclass
class Planted:
    """Nearest to the source at ``place``, but coherent only within ``reach`` of 0; the vectors interfere."""

    place: tuple[float, float]
    reach: float = 1.0
    asked: list[Strengths] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    def __call__(self, combinations: Sequence[Strengths]) -> list[Outcome]:
        self.asked += combinations
        self.rounds.append(len(combinations))
        return [self.outcome(strengths) for strengths in combinations]

    def outcome(self, strengths: Strengths) -> Outcome:
        gap = np.subtract(strengths, self.place)
        distance = math.sqrt(gap @ np.array([[1.0, 0.6], [0.6, 1.0]]) @ gap)
        return Outcome(distance, 100 - 40 * float(np.linalg.norm(strengths)) / self.reach)


def tuned(planted: Planted, *, sampler: Literal["gp", "tpe"] = "tpe", **settings: Any) -> list[Point]:
    known = [Point(each, planted.outcome(each)) for each in fixed_points(BOUNDS, RECOMMENDED)]
    chosen = {"trials": 40, "per_round": 4, "patience": 100, "min_coherence": 60.0, "seed": 1} | settings
    return search(planted, BOUNDS, known, sampler=sampler, **chosen)


@pytest.mark.parametrize(("sampler", "trials", "near"), [("tpe", 60, 0.05), ("gp", 8, 0.08)])
def test_a_planted_best_is_found(sampler: Literal["gp", "tpe"], trials: int, near: float) -> None:
    planted = Planted((0.17, -0.13))
    found = best(tuned(planted, sampler=sampler, trials=trials), 60)
    assert math.dist(found.strengths, planted.place) < near
    assert min(math.dist(each, planted.place) for each in fixed_points(BOUNDS, RECOMMENDED)) > 0.12


def test_the_best_of_the_coherent_is_found_where_the_nearest_is_not() -> None:
    planted = Planted((0.25, 0.25), reach=0.2)
    points = tuned(planted, trials=60)
    found = best(points, 60)
    assert any(point.outcome.distance < found.outcome.distance for point in points), "nearer ones were tried"
    assert math.hypot(*found.strengths) <= 0.2 + 1e-9, "on the coherent side"
    edge = planted.outcome((0.2 / math.sqrt(2), 0.2 / math.sqrt(2))).distance
    assert found.outcome.distance < edge + 0.03


def test_the_sampler_learns_what_is_incoherent() -> None:
    """Told of the constraint, it looks on the coherent side more often than one that only sees distances."""

    def coherent(minimum: float) -> int:
        points = tuned(Planted((0.25, 0.25), reach=0.15), trials=60, min_coherence=minimum)
        return sum(point.eligible(60) for point in points if point.suggested)

    assert coherent(60) > 2 * coherent(0)


def test_the_same_seed_suggests_the_same_and_another_does_not() -> None:
    first, again, other = (
        [point.strengths for point in tuned(Planted((0.1, 0.1)), trials=12, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_rounds_are_asked_at_once_and_nothing_twice() -> None:
    planted = Planted((0.1, -0.1))
    points = tuned(planted, trials=18, per_round=4)
    assert len(planted.rounds) == 5
    assert max(planted.rounds) == 4
    assert len({*planted.asked}) == len(planted.asked)
    assert not {*planted.asked} & {*fixed_points(BOUNDS, RECOMMENDED)}
    assert [point.strengths for point in points if point.suggested] == planted.asked
    assert all(-0.3 <= strength <= 0.3 for strengths in planted.asked for strength in strengths)
    assert all(round(strength, 3) == strength for strengths in planted.asked for strength in strengths)


def test_suggestions_stay_within_odd_bounds() -> None:
    bounds = ((-0.0004, 0.0004), (0.0, 0.12345))
    points = search(
        Planted((1.0, 1.0)),
        bounds,
        [],
        trials=20,
        per_round=5,
        patience=100,
        min_coherence=0,
        sampler="tpe",
        seed=0,
    )
    assert points
    for point in points:
        assert all(low <= strength <= high for strength, (low, high) in zip(point.strengths, bounds, strict=True))
        assert "-0.0" not in map(str, point.strengths)


def test_it_stops_when_nothing_better_comes() -> None:
    planted = Planted((0.0, 0.0))  # the best is among the fixed points
    tuned(planted, trials=100, patience=8)
    assert len(planted.rounds) == 2


def test_no_trials_are_the_fixed_points() -> None:
    planted = Planted((0.1, 0.1))
    assert [point.strengths for point in tuned(planted, trials=0)] == fixed_points(BOUNDS, RECOMMENDED)
    assert not planted.asked


def test_what_is_always_tried() -> None:
    points = fixed_points(((-0.2, 0.4), (0.0, 0.3)), (0.1234567, None))
    assert points == [
        (0.0, 0.0),
        (-0.2, 0.0),
        (-0.1, 0.0),
        (0.2, 0.0),
        (0.4, 0.0),
        (0.1234567, 0.0),
        (0.0, 0.15),
        (0.0, 0.3),
    ]


def point(first: float, second: float, distance: float, coherence: float | None = 80.0) -> Point:
    return Point((first, second), Outcome(distance, coherence))


def test_the_best_is_coherent_and_of_equals_the_weaker() -> None:
    points = [point(0, 0, 0.9, 100), point(0.3, 0, 0.1, 59.9), point(0, 0.2, 0.4), point(0, 0.1, 0.4, 60)]
    assert best(points, 60).strengths == (0, 0.1)
    assert best([*points, point(0.1, 0.1, -0.02)], 60).strengths == (0.1, 0.1), "an estimate below 0 is near"
    assert best([*points, point(0.1, 0.1, 0.0, None)], 60).strengths == (0, 0.1), "unmeasured coherence is none"
    assert best([*points, point(0.1, 0.1, math.nan)], 60).strengths == (0, 0.1)
    with pytest.raises(InputError, match="not even the unsteered"):
        best([point(0, 0, 0.1, 20)], 60)


def test_alone_is_without_the_others() -> None:
    points = [point(0, 0, 0.1), point(0.1, 0, 0.5), point(0.2, 0, 0.4), point(0.3, 0, 0.2, 10), point(0.2, 0.1, 0.0)]
    assert best_alone(points, 0, 60) == 0.2
    assert best_alone(points, 1, 60) == 0.0


def test_a_distance_that_cannot_be_told_does_not_stop_the_search() -> None:
    class Holes(Planted):
        def outcome(self, strengths: Strengths) -> Outcome:
            return Outcome(math.nan, None) if strengths[0] > 0.2 else super().outcome(strengths)

    points = tuned(Holes((0.1, 0.1)), trials=12)
    assert best(points, 60).strengths[0] <= 0.2
