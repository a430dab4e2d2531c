"""Interference, on scores whose effects are known."""

import pytest

from steer_llama.evaluation.interference import Performance, Scores, cosines_of, interference
from steer_llama.evaluation.intervals import Grouped
from steer_llama.records.tuned import Interference

QUESTIONS = [f"q{number}" for number in range(12)]
BASE = {question: 10.0 + number for number, question in enumerate(QUESTIONS)}


def moved(points: float) -> Grouped:
    """The unsteered scores, moved by so many points, with a question's own luck."""
    return {question: [score + points, None] for question, score in BASE.items()}


def scores(emoji: float, markdown: float) -> Scores:
    return {"emoji": moved(emoji), "markdown": moved(markdown)}


def found(together: tuple[float, float], without: tuple[float, float] = (-6, 8)) -> Interference:
    """Emoji alone moves (30, −6), markdown alone (−6, 8)."""
    performance = Performance(
        strengths={"emoji": 0.2, "markdown": 0.1},
        unsteered=scores(0, 0),
        together=scores(*together),
        alone={"emoji": scores(30, -6), "markdown": scores(-6, 8)},
        without={"emoji": scores(*without), "markdown": scores(30, -6)},
    )
    return interference(performance, [], resamples=200, seed=0)


def test_the_matrix_says_what_each_does_to_every_trait() -> None:
    effects = {(effect.vector, effect.trait): effect.points for effect in found((24, 2)).effects}
    assert {key: points.mean for key, points in effects.items()} == {
        ("emoji", "emoji"): pytest.approx(30),
        ("emoji", "markdown"): pytest.approx(-6),
        ("markdown", "emoji"): pytest.approx(-6),
        ("markdown", "markdown"): pytest.approx(8),
    }
    assert effects["emoji", "emoji"].n == 12
    assert effects["emoji", "emoji"].low == pytest.approx(30), "paired: the questions' own levels are out"


def test_what_adds_up_has_no_gap() -> None:
    for each in found((24, 2)).additivity:
        assert each.gap.mean == pytest.approx(0, abs=1e-9)
        assert each.together.mean == pytest.approx(each.added_up.mean)


def test_what_does_not_add_up_has_one() -> None:
    gaps = {each.trait: each for each in found((14, 5)).additivity}
    assert gaps["emoji"].together.mean == pytest.approx(14)
    assert gaps["emoji"].added_up.mean == pytest.approx(24)
    assert gaps["emoji"].gap.mean == pytest.approx(-10)
    assert gaps["markdown"].gap.mean == pytest.approx(3)


def test_what_is_kept_is_over_the_same_without_it() -> None:
    kept = {each.vector: each for each in found((14, 2)).kept}
    assert kept["emoji"].alone.mean == pytest.approx(30)
    assert kept["emoji"].in_company.mean == pytest.approx(14 - -6)
    assert kept["emoji"].share is not None
    assert kept["emoji"].share.mean == pytest.approx(20 / 30)
    assert kept["markdown"].share is not None
    assert kept["markdown"].share.mean == pytest.approx((2 - -6) / 8)


def test_nothing_has_no_share() -> None:
    noisy: Grouped = {question: [BASE[question] + (-1) ** n] for n, question in enumerate(QUESTIONS)}
    performance = Performance(
        strengths={"emoji": 0.2, "markdown": 0.1},
        unsteered=scores(0, 0),
        together=scores(5, 5),
        alone={"emoji": {"emoji": noisy, "markdown": moved(0)}},
        without={"emoji": scores(0, 0)},
    )
    (kept,) = interference(performance, [], resamples=200, seed=0).kept
    assert kept.share is None
    assert kept.in_company.mean == pytest.approx(5)


def test_cosines_at_the_layers_that_are_used() -> None:
    first = {1: [1.0, 0.0], 2: [0.0, 2.0]}
    second = {1: [1.0, 1.0], 2: [0.0, -1.0], 3: [1.0, 0.0]}
    cosines = cosines_of({"a": (1, first), "b": (2, second)})
    assert [(each.first, each.second, each.layer) for each in cosines] == [("a", "b", 1), ("a", "b", 2)]
    assert [each.cosine for each in cosines] == [pytest.approx(0.5**0.5), pytest.approx(-1)]
    (same,) = cosines_of({"a": (2, first), "b": (2, second)})
    assert same.layer == 2
    assert cosines_of({"a": (1, first), "b": (3, {3: [1.0, 0.0]})}) == [], "neither has the other's layer"
    assert cosines_of({"a": (1, first), "b": (1, {1: [0.0, 0.0]})}) == []
