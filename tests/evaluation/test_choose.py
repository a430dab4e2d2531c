from typing import Any

import pytest

from steer_llama.errors import InputError
from steer_llama.evaluation import Choice, choose_winner
from steer_llama.evaluation.choose import Wanted
from steer_llama.records import Trial
from tests.evaluation.trials import trials

PLAIN = trials("unsteered", [20, 20, 20])


def at(layer: int, strength: float, score: float | None, **more: Any) -> list[Trial]:
    return trials("steered", [score] * 3, layer=layer, strength=strength, **more)


def chosen(*answers: list[Trial], wanted: Wanted = "more", plain: list[Trial] = PLAIN) -> Choice:
    every = [*plain, *(trial for group in answers for trial in group)]
    return choose_winner(every, wanted=wanted, min_coherence=60, bootstrap=20, seed=0)


def place(choice: Choice) -> tuple[int, float] | None:
    return (choice.winner.layer, choice.winner.strength) if choice.winner else None


def test_the_largest_move_wins() -> None:
    choice = chosen(at(3, 0.1, 30), at(3, 0.2, 80), at(5, 0.2, 60))
    assert place(choice) == (3, 0.2)
    assert "largest rise" in choice.rule
    assert "3 of 3" in choice.rule
    assert [(c.layer, c.strength) for c in choice.conditions] == [(3, 0.1), (3, 0.2), (5, 0.2)]


def test_an_incoherent_one_cannot_win() -> None:
    choice = chosen(at(3, 0.1, 30), at(3, 0.9, 100, nats=3.0))
    assert place(choice) == (3, 0.1)
    assert [c.eligible for c in choice.conditions] == [True, False]


def test_empty_text_cannot_win() -> None:
    empty = {"text": "", "tokens": 0, "nll": None, "distinct_2": None}
    assert place(chosen(at(3, 0.1, 10), at(5, 0.4, 0, **empty), wanted="less")) == (3, 0.1)


def test_less_is_a_fall() -> None:
    choice = chosen(at(3, 0.1, 5), at(3, 0.2, 90), wanted="less")
    assert place(choice) == (3, 0.1)
    assert "fall" in choice.rule


def test_ties_go_to_the_more_coherent_then_the_weaker_then_the_lower_layer() -> None:
    assert place(chosen(at(3, 0.2, 80.5, nats=1.2), at(5, 0.3, 80))) == (5, 0.3)
    assert place(chosen(at(3, 0.2, 80.5), at(5, 0.1, 80))) == (5, 0.1)
    assert place(chosen(at(7, 0.1, 80), at(5, 0.1, 80))) == (5, 0.1)
    assert place(chosen(at(3, 0.2, 82, nats=1.2), at(5, 0.3, 80))) == (3, 0.2), "two points are no tie"
    assert "2 lie within 1 point" in chosen(at(3, 0.2, 80.5), at(5, 0.1, 80)).rule


def test_a_tie_with_a_small_move_does_not_let_the_wrong_direction_win() -> None:
    assert place(chosen(at(3, 0.2, 20.5, nats=1.1), at(5, 0.3, 19.9))) == (3, 0.2)


def test_no_winner_says_why() -> None:
    assert place(chosen()) is None
    assert "Nothing was steered" in chosen().rule
    incoherent = chosen(at(3, 0.1, 100, nats=4.0))
    assert incoherent.winner is None
    assert "coherence of 60" in incoherent.rule
    backwards = chosen(at(3, 0.1, 10), at(3, 0.2, 20))
    assert backwards.winner is None
    assert "does the trait score rise" in backwards.rule


def test_unscored_conditions_do_not_move() -> None:
    assert place(chosen(at(3, 0.1, None), at(3, 0.2, 30))) == (3, 0.2)
    assert place(chosen(at(3, 0.1, None))) is None


def test_test_questions_are_not_looked_at() -> None:
    leak = trials("steered", [100] * 3, layer=9, strength=0.9, split="test")
    assert chosen(at(3, 0.1, 30), leak) == chosen(at(3, 0.1, 30))


def test_without_unsteered_answers_there_is_an_error() -> None:
    with pytest.raises(InputError, match="no unsteered answers"):
        chosen(at(3, 0.1, 30), plain=[])
