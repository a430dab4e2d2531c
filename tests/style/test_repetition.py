import pytest

from steer_llama.style import repetition

SAID = "Tea is made from leaves that grow on hills in the rain."


def test_a_text_that_says_everything_once_has_none() -> None:
    assert repetition(SAID) == 0.0
    assert repetition("One of the leaves and one of the hills.") == 0.0, "three words come back in any text"


def test_what_is_said_again_counts_and_the_first_time_does_not() -> None:
    assert repetition(f"{SAID} {SAID}") == pytest.approx(1 / 2)
    assert repetition(" ".join([SAID.upper(), *[SAID] * 9])) == pytest.approx(9 / 10)
    assert repetition(f"{SAID} Also, tea is made from water.") == pytest.approx(4 / 18)


def test_loops_of_any_period() -> None:
    assert repetition("go " * 40) == pytest.approx(39 / 40)
    assert repetition("left right " * 20) == pytest.approx(38 / 40)
    assert repetition("🎉" * 40) == pytest.approx(39 / 40)
    assert repetition("🎉 🎈 🎂 🍰 🎁 " * 4) == pytest.approx(15 / 20)


def test_loops_within_a_word_or_of_marks() -> None:
    assert repetition("ha" * 40) == 1.0
    assert repetition("!" * 30) == 1.0
    assert repetition("No! " + "a" * 27) == pytest.approx(27 / 30)
    assert repetition("Wow!!! Really???") == 0.0


def test_markup_is_no_repetition() -> None:
    assert repetition("| a | b |\n|----------|----------|\n| c | d |") == 0.0
    assert repetition("one\n\n----------\n\ntwo") == 0.0


def test_nothing_is_not_zero() -> None:
    assert repetition("") is None
    assert repetition(" \n") is None
    assert repetition("?") == 0.0
