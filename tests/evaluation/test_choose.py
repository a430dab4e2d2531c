from typing import Any

import pytest

from steer_llama.errors import InputError
from steer_llama.evaluation import Choice, Wanted, choose_winner
from steer_llama.records import Trial
from tests.evaluation.trials import styled, trials

PLAIN = trials("unsteered", [20, 20, 20])


def at(layer: int, strength: float, score: float | None, **more: Any) -> list[Trial]:
    return trials("steered", [score] * 3, layer=layer, strength=strength, **more)


def chosen(*answers: list[Trial], wanted: Wanted = "more", plain: list[Trial] = PLAIN) -> Choice:
    every = [*plain, *(trial for group in answers for trial in group)]
    return choose_winner(every, wanted=wanted, min_coherence=60, bootstrap=20, seed=0, objective="trait")


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


SOURCE, BARE = styled("source", 12, 5.0, luck=1), styled("unsteered", 12, 0.3, luck=2)


def towards(layer: int, strength: float, emoji: float, *, luck: int = 3, **more: Any) -> list[Trial]:
    return styled("steered", 12, emoji, luck=luck, layer=layer, strength=strength, **more)


def nearest(*answers: list[Trial], wanted: Wanted = "more", source: list[Trial] = SOURCE) -> Choice:
    every = [*BARE, *source, *(trial for group in answers for trial in group)]
    return choose_winner(every, wanted=wanted, min_coherence=60, bootstrap=50, seed=0)


def test_the_nearest_to_the_source_wins_and_not_the_loudest() -> None:
    conditions = towards(3, 0.1, 1.0), towards(3, 0.2, 5.0), towards(3, 0.3, 30.0)
    choice = nearest(*conditions)
    assert place(choice) == (3, 0.2)
    assert choice.objective == "fidelity"
    assert "the smallest distance from the source's style" in choice.rule
    every = [*BARE, *SOURCE, *(trial for group in conditions for trial in group)]
    loudest = choose_winner(every, wanted="more", min_coherence=60, bootstrap=50, seed=0, objective="trait")
    assert place(loudest) == (3, 0.3)
    assert [c.fidelity is not None for c in loudest.conditions] == [True] * 3, "measured all the same"
    assert choice.winner is not None
    assert choice.winner.fidelity is not None
    assert choice.winner.fidelity.closed.mean > 0.6


def test_near_but_incoherent_cannot_win() -> None:
    choice = nearest(towards(3, 0.1, 3.0), towards(3, 0.2, 5.0, nats=3.0))
    assert place(choice) == (3, 0.1)


def test_nearer_but_away_from_the_trait_cannot_win() -> None:
    """Its emoji are the source's, but the score says that the trait fell: something else brought it nearer."""
    suspicious = [trial.model_copy(update={"trait_score": 0.0}) for trial in towards(3, 0.2, 5.0)]
    choice = nearest(towards(3, 0.1, 3.0), suspicious)
    assert place(choice) == (3, 0.1)
    assert "1 that moves the trait the wrong way left out" in choice.rule
    alone = nearest(suspicious)
    assert alone.winner is None
    assert "move the trait the wrong way" in alone.rule


def test_further_than_the_unsteered_cannot_win() -> None:
    choice = nearest(towards(3, 0.4, 60.0))
    assert choice.winner is None
    assert "comes nearer" in choice.rule


def test_without_a_gap_nothing_can_win() -> None:
    choice = nearest(towards(3, 0.1, 3.0), source=[trial.model_copy(update={"arm": "source"}) for trial in BARE])
    assert choice.winner is None
    assert "not told apart" in choice.rule


def test_equally_near_goes_to_the_more_coherent_then_the_weaker() -> None:
    same = towards(3, 0.3, 5.0), towards(5, 0.2, 5.0), towards(7, 0.4, 5.0, nats=0.9)
    assert place(nearest(*same)) == (5, 0.2)
    assert place(nearest(towards(3, 0.1, 5.0, nats=1.2), *same)) == (5, 0.2)
    assert "3 lie within 1% of the unsteered target's distance" in nearest(*same).rule


def test_fidelity_needs_the_source_and_says_what_to_do() -> None:
    for source in ([], SOURCE[:1], [trial.model_copy(update={"split": "test"}) for trial in SOURCE]):
        with pytest.raises(InputError, match=r"--responses.*--objective trait"):
            nearest(towards(3, 0.1, 3.0), source=source)


def test_a_condition_that_was_stopped_early_is_measured_and_cannot_win() -> None:
    choice = nearest(towards(3, 0.1, 2.0), towards(3, 0.2, 5.0)[:6])
    assert place(choice) == (3, 0.1)
    assert [(c.measured.answers, c.eligible) for c in choice.conditions] == [(12, True), (6, False)]


def test_a_condition_is_told_by_its_whole_spot() -> None:
    every = [
        *towards(3, 0.1, 1.0),
        *towards(3, 0.1, 2.0, vector="other"),
        *towards(3, 0.1, 3.0, mode="keep_norm"),
        *towards(3, 0.1, 5.0, where="response"),
    ]
    choice = nearest(every)
    assert [c.measured.answers for c in choice.conditions] == [12] * 4
    assert choice.winner is not None
    assert (choice.winner.where, str(choice.winner.spot)) == ("response", "layer 3, strength 0.1, at response tokens")


def test_a_judge_has_a_say_in_coherence() -> None:
    def judged(answers: list[Trial], score: float | None) -> list[Trial]:
        return [trial.model_copy(update={"coherence_score": score}) for trial in answers]

    near, far = towards(3, 0.2, 5.0), towards(3, 0.1, 2.0)
    plain = judged(BARE, 70)

    def winner(*groups: list[Trial]) -> Any:
        every = [*plain, *SOURCE, *(trial for group in groups for trial in group)]
        return place(choose_winner(every, wanted="more", min_coherence=60, bootstrap=50, seed=0))

    assert winner(judged(near, 30), judged(far, 65)) == (3, 0.1), "30 is 43% of the norm's 70"
    assert winner(judged(near, 45), judged(far, 65)) == (3, 0.2), "45 is 64% of it"
    assert winner(judged(near, None), judged(far, 65)) == (3, 0.2), "unscored is not 0"
    assert winner(judged(towards(3, 0.2, 5.0, nats=3.0), 90), judged(far, 65)) == (3, 0.1), "the count has its own say"
