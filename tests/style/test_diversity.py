import pytest

from steer_llama.style import distinct_n


def test_no_repetition_is_one() -> None:
    assert distinct_n("every word here is new", 2) == 1.0


def test_repetition_lowers_it() -> None:
    assert distinct_n("go go go go go", 1) == pytest.approx(1 / 5)
    assert distinct_n("go go go go go", 2) == pytest.approx(1 / 4)
    assert distinct_n("a b a b a", 2) == pytest.approx(2 / 4)


def test_case_and_punctuation_make_no_difference() -> None:
    assert distinct_n("Go, go! GO", 1) == pytest.approx(1 / 3)


def test_emoji_are_tokens() -> None:
    assert distinct_n("😀😀😀😀", 1) == pytest.approx(1 / 4)
    assert distinct_n("😀😀😀😀", 2) == pytest.approx(1 / 3)
    assert distinct_n("😀🎉👨‍👩‍👧🇫🇷", 1) == 1.0


def test_emoji_and_words_keep_their_order() -> None:
    assert distinct_n("hi 😀 hi 😀", 2) == pytest.approx(2 / 3)


def test_markup_is_no_token() -> None:
    assert distinct_n("- **a**\n- **b**\n", 2) == 1.0


@pytest.mark.parametrize(("text", "n"), [("", 1), ("!!!", 1), ("one", 2), ("one two", 3)])
def test_too_short_to_tell(text: str, n: int) -> None:
    assert distinct_n(text, n) is None


def test_n_must_be_positive() -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        distinct_n("a b", 0)
