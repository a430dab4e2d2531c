"""Right answers, however they are spelled."""

import pytest

from steer_llama.evaluation import is_right

RIGHT = [
    ("The capital of France is Paris.", "Paris"),
    ("**PARIS**!", "paris"),
    ("That was Shakespeare’s work.", "Shakespeare"),
    ("Carbon-dioxide, mostly.", "carbon dioxide"),
    ("It is 1,000 metres.", "1000"),
    ("São Paulo 🎉", "sao paulo"),
    ("Mount Everest (8,849 m)", "Everest"),
    ("8.", "8"),
    ("It takes 3.5 hours", "3.5"),
    ("CO₂", "CO2"),
]
WRONG = [
    ("", "Paris"),
    ("Parisian", "Paris"),
    ("The answer is 18.", "8"),
    ("It is 8.5.", "8"),
    ("It is 8,100.", "8"),
    ("carbon and dioxide", "carbon dioxide"),
    ("Justice", "ice"),
]


@pytest.mark.parametrize(("answer", "accepted"), RIGHT)
def test_right(answer: str, accepted: str) -> None:
    assert is_right(answer, ["something else", accepted])


@pytest.mark.parametrize(("answer", "accepted"), WRONG)
def test_wrong(answer: str, accepted: str) -> None:
    assert not is_right(answer, [accepted])
