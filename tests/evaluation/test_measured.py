import math

import pytest

from steer_llama.errors import InputError
from steer_llama.evaluation import Level, coherence, coherence_interval, level_of, measure, norm_of
from steer_llama.records import Measured, Trial
from tests.evaluation.trials import trial, trials


def measured_against(plain: list[Trial], answers: list[Trial]) -> Measured:
    return measure(answers, norm=norm_of(plain, []), resamples=10, seed=0)


def test_perplexity_is_over_all_tokens_not_the_mean_of_the_answers() -> None:
    answers = [trial(nll=10.0, tokens=10, question="a"), trial(nll=60.0, tokens=20, question="b")]
    measured = measured_against(answers, answers)
    assert measured.perplexity == pytest.approx(math.exp(70 / 30))


def test_unmeasured_answers_are_left_out_of_the_perplexity() -> None:
    answers = [trial(nll=10.0, tokens=10), trial(nll=None, tokens=50), trial(nll=0.0, tokens=0)]
    assert measured_against(answers, answers).perplexity == pytest.approx(math.e)


NORM = Level(perplexity=4.0, distinct_2=0.9, words=20.0)


def test_hand_computed_coherence() -> None:
    assert coherence(Level(8.0, 0.45, 10.0), NORM) == pytest.approx(100 * 0.5 * 0.5 * 0.5)
    assert coherence(Level(2.0, 0.95, 30.0), NORM) == 100.0, "better than the norm earns nothing"
    assert coherence(Level(4.0, 0.3, 20.0), NORM) == pytest.approx(100 / 3)
    assert coherence(Level(None, 0.9, 20.0), NORM) is None
    assert coherence(Level(4.0, 0.9, 20.0), Level(None, 0.9, 20.0)) is None


def test_the_unsteered_are_their_own_norm_and_a_worse_set_is_less_coherent() -> None:
    plain = [trial(nats=1.0, distinct_2=0.9)]
    assert measured_against(plain, plain).coherence == 100.0
    worse = measured_against(plain, [trial(nats=2.0, distinct_2=0.6)])
    assert worse.coherence == pytest.approx(100 * math.exp(-1) * 0.6 / 0.9)


def test_the_norm_is_what_is_easier_of_the_unsteered_and_the_source() -> None:
    plain = [trial(nats=1.0, distinct_2=0.9, text="one two three four")]
    source = [trial("source", nats=2.0, distinct_2=0.95, text="one two")]
    assert norm_of(plain, source) == Level(math.exp(2.0), 0.9, 2.0)
    assert norm_of(plain, []) == level_of(plain)


def test_marks_instead_of_words_cost_coherence() -> None:
    plain = [trial(text="one two three four", features={"words": 4.0})]
    loud = [trial("steered", 100, text="one 🎉 🎈 🎂", features={"words": 1.0})]
    assert measured_against(plain, loud).coherence == pytest.approx(25.0)


def test_empty_answers_cost_coherence() -> None:
    plain = trials("unsteered", [0] * 4)
    half = [trial(), trial(), *(trial(text="", tokens=0, nll=None, distinct_2=None) for _ in range(2))]
    measured = measured_against(plain, half)
    assert measured.coherence == pytest.approx(25.0), "half the distinct-2 and half the words"
    assert measured.perplexity == pytest.approx(math.e)


def test_one_long_word_of_emoji_is_as_bad_as_nothing() -> None:
    answers = [trial("steered", 100, text="🎉" * 40, nats=0.1, distinct_2=None)]
    assert measured_against([trial()], answers).coherence == 0.0
    nothing = [trial("steered", None, text="", tokens=0, nll=None, distinct_2=None)]
    assert measured_against([trial()], nothing).coherence == 0.0


def test_share_words_and_profile() -> None:
    answers = [
        trial(score=40, text="one two three 🙂", features={"emoji": 4.0}),
        trial(score=0, text="one two", question="b", features={"emoji": 0.0, "bold": 2.0}),
        trial(score=None, text="", question="c"),
    ]
    measured = measured_against(answers, answers)
    assert (measured.share.mean, measured.share.n) == (0.5, 2)
    assert measured.trait.mean == 20.0
    assert measured.words == 2.0
    assert measured.profile == {"bold": 2.0, "emoji": 2.0}
    assert measured.answers == 3


def test_no_answers_are_an_error_that_says_so() -> None:
    with pytest.raises(InputError, match="no answers"):
        measure([], norm=NORM, resamples=10, seed=0)


def test_the_interval_of_coherence_draws_questions_with_everybodys_answers() -> None:
    plain = trials("unsteered", [0] * 12, nats=1.0)
    same = coherence_interval(plain, plain, [], resamples=100, seed=0)
    assert same is not None
    assert (same.mean, same.low, same.high, same.n) == (100.0, 100.0, 100.0, 12)
    worse = [trial("steered", 50, question=f"q{n}", nats=1.0 + n / 10) for n in range(12)]
    interval = coherence_interval(worse, plain, [], resamples=500, seed=0)
    assert interval is not None
    assert interval.mean == pytest.approx(100 * math.exp(-0.55))
    assert interval.low < interval.mean < interval.high
    assert coherence_interval([trial(nll=None, tokens=0)], plain, [], resamples=10, seed=0) is None
