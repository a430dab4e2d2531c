import math

import pytest

from steer_llama.errors import InputError
from steer_llama.evaluation import coherence, measure
from tests.evaluation.trials import trial, trials


def test_perplexity_is_over_all_tokens_not_the_mean_of_the_answers() -> None:
    answers = [trial(nll=10.0, tokens=10, question="a"), trial(nll=60.0, tokens=20, question="b")]
    measured = measure(answers, reference=None, resamples=10, seed=0)
    assert measured.perplexity == pytest.approx(math.exp(70 / 30))


def test_unmeasured_answers_are_left_out_of_the_perplexity() -> None:
    answers = [trial(nll=10.0, tokens=10), trial(nll=None, tokens=50), trial(nll=0.0, tokens=0)]
    assert measure(answers, reference=None, resamples=10, seed=0).perplexity == pytest.approx(math.e)


def test_hand_computed_coherence() -> None:
    assert coherence(8.0, 0.45, 4.0, 0.9) == pytest.approx(100 * 0.5 * 0.5)
    assert coherence(2.0, 0.95, 4.0, 0.9) == 100.0, "better than the norm earns nothing"
    assert coherence(4.0, 0.3, 4.0, 0.9) == pytest.approx(100 / 3)
    assert coherence(None, 0.9, 4.0, 0.9) is None
    assert coherence(4.0, 0.9, None, 0.9) is None


def test_the_unsteered_are_their_own_norm_and_a_worse_set_is_less_coherent() -> None:
    plain = measure([trial(nats=1.0, distinct_2=0.9)], reference=None, resamples=10, seed=0)
    worse = measure([trial(nats=2.0, distinct_2=0.6)], reference=plain, resamples=10, seed=0)
    assert plain.coherence == 100.0
    assert worse.coherence == pytest.approx(100 * math.exp(-1) * 0.6 / 0.9)


def test_empty_answers_cost_coherence() -> None:
    plain = measure(trials("unsteered", [0] * 4), reference=None, resamples=10, seed=0)
    half = [trial(), trial(), *(trial(text="", tokens=0, nll=None, distinct_2=None) for _ in range(2))]
    measured = measure(half, reference=plain, resamples=10, seed=0)
    assert measured.coherence == pytest.approx(50.0)
    assert measured.perplexity == pytest.approx(math.e)


def test_one_long_word_of_emoji_is_as_bad_as_nothing() -> None:
    plain = measure([trial()], reference=None, resamples=10, seed=0)
    answers = [trial("steered", 100, text="🎉" * 40, nats=0.1, distinct_2=None)]
    assert measure(answers, reference=plain, resamples=10, seed=0).coherence == 0.0
    nothing = [trial("steered", None, text="", tokens=0, nll=None, distinct_2=None)]
    assert measure(nothing, reference=plain, resamples=10, seed=0).coherence == 0.0


def test_share_words_and_profile() -> None:
    answers = [
        trial(score=40, text="one two three 🙂", features={"emoji": 4.0}),
        trial(score=0, text="one two", question="b", features={"emoji": 0.0, "bold": 2.0}),
        trial(score=None, text="", question="c"),
    ]
    measured = measure(answers, reference=None, resamples=10, seed=0)
    assert (measured.share.mean, measured.share.n) == (0.5, 2)
    assert measured.trait.mean == 20.0
    assert measured.words == 2.0
    assert measured.profile == {"bold": 2.0, "emoji": 2.0}
    assert measured.answers == 3


def test_no_answers_are_an_error_that_says_so() -> None:
    with pytest.raises(InputError, match="no answers"):
        measure([], reference=None, resamples=10, seed=0)
