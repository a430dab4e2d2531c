import math
import random

import pytest

from steer_llama.errors import InputError
from steer_llama.evaluation import correlation
from steer_llama.evaluation.agreement import agree_on_decisions, agree_on_scores, decide


def test_scores_against_the_formulas() -> None:
    draw = random.Random(0)
    first = [draw.uniform(0, 100) for _ in range(30)]
    second = [0.5 * value + draw.uniform(0, 40) for value in first]
    found = agree_on_scores(first, second)
    assert found.answers == 30
    assert found.pearson == pytest.approx(pearson(first, second))
    assert found.spearman == pytest.approx(pearson(ranks(first), ranks(second)))
    assert found.mean_difference == pytest.approx((sum(first) - sum(second)) / 30)
    assert found.mean_absolute_difference == pytest.approx(
        sum(abs(a - b) for a, b in zip(first, second, strict=True)) / 30
    )


def pearson(first: list[float], second: list[float]) -> float:
    a, b = sum(first) / len(first), sum(second) / len(second)
    covariance = sum((x - a) * (y - b) for x, y in zip(first, second, strict=True))
    return covariance / math.sqrt(sum((x - a) ** 2 for x in first) * sum((y - b) ** 2 for y in second))


def ranks(values: list[float]) -> list[float]:
    return [float(sorted(values).index(value)) for value in values]


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])])
def test_what_has_no_correlation_is_not_zero(first: list[float], second: list[float]) -> None:
    found = agree_on_scores(first, second)
    assert found.pearson is None
    assert found.spearman is None
    assert correlation(second, first) is None
    assert (found.mean_difference is None) == (not first)


@pytest.mark.parametrize(
    ("difference", "decision"), [(41, "source"), (40, "neither"), (0, "neither"), (-40, "neither"), (-41, "target")]
)
def test_decisions(difference: float, decision: str) -> None:
    assert decide(difference, 40) == decision


def test_kappa_by_hand() -> None:
    first = ["source"] * 5 + ["neither"] * 5
    second = ["source"] * 4 + ["neither"] * 4 + ["target", "source"]
    found = agree_on_decisions(first, second)  # type: ignore[arg-type]
    by_chance = (5 * 5 + 5 * 4) / 100
    assert found.agreement == pytest.approx(0.7)
    assert found.kappa == pytest.approx((0.7 - by_chance) / (1 - by_chance))
    assert found.counts == {
        "neither/neither": 3,
        "neither/source": 1,
        "neither/target": 1,
        "source/neither": 1,
        "source/source": 4,
    }


def test_kappa_is_undefined_where_chance_always_agrees() -> None:
    found = agree_on_decisions(["neither"] * 3, ["neither"] * 3)
    assert (found.agreement, found.kappa) == (1, None)
    none = agree_on_decisions([], [])
    assert (none.pairs, none.agreement, none.kappa) == (0, None, None)


def test_both_sides_have_to_be_there() -> None:
    with pytest.raises(InputError, match="1 and 2 values"):
        agree_on_scores([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="0 and 1 values"):
        agree_on_decisions([], ["neither"])
