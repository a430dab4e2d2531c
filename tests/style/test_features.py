import pytest

from steer_llama.style import FEATURES, count_words, mean_profile, measure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n\t", 0),
        ("one two", 2),
        ("don't well-known e-mail 3.14 rock’n’roll", 5),
        ("End.Start is one, yes", 4),
        ("Привет, мир! été e\u0301te\u0301", 4),
        ("你好世界", 4),
        ("カタカナ です", 3),
        ("1️⃣ one 👨‍👩‍👧 two", 2),
        ("1. first\n2. second", 2),
        ("- - -", 0),
        ("see [the page](http://example.invalid/a/b)", 3),
    ],
)
def test_words_are_counted_in_any_script(text: str, words: int) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_all_zeros(text: str) -> None:
    assert measure(text) == dict.fromkeys(FEATURES, 0.0)


def test_emoji_without_words_count_as_one_word() -> None:
    profile = measure("😀😀")
    assert profile["emoji"] == 200.0
    assert profile["words"] == 0.0
    assert profile["sentence_words"] == 0.0


def test_every_feature_is_counted_per_100_words() -> None:
    text = (
        "# Big plan\n\n"  # 2 words
        "1. **Go** now!\n"  # 2
        "2. *Stay* `here`?\n\n"  # 2
        "See [this](http://example.invalid) 😀 today.\n\n"  # 3
        "```\ncode\n```\n"  # 1
    )
    profile = measure(text)
    assert profile["words"] == 10
    per_item = {"headings": 1, "bullets": 2, "bold": 1, "italics": 1, "code": 2, "links": 1, "emoji": 1}
    for name, count in {**per_item, "exclamations": 1, "questions": 1, "punctuation": 3}.items():
        assert profile[name] == pytest.approx(10 * count), name
    assert profile["sentence_words"] == pytest.approx(10 / 5)
    assert set(profile) == set(FEATURES)


def test_nested_lists_with_emphasis() -> None:
    text = "- **One** a\n  - *two* b\n    1. ***three*** c\n- four\n"
    profile = measure(text)
    assert profile["words"] == 7
    assert [round(profile[name] * 7 / 100) for name in ("bullets", "bold", "italics")] == [4, 2, 2]


def test_fenced_code_is_one_block_and_its_text_no_markup() -> None:
    profile = measure("word\n\n```sh\n# no heading\n* no *item*\n```\n")
    assert profile["code"] > 0
    assert profile["headings"] == profile["bullets"] == profile["italics"] == 0


def test_setext_headings_and_line_endings() -> None:
    assert measure("Title\r\n=====\r\n\r\ntext here") == measure("Title\n=====\n\ntext here")
    assert measure("Title\n=====\n\ntext here")["headings"] == pytest.approx(100 / 3)


def test_the_exclamation_mark_of_an_image_is_markup() -> None:
    assert measure("![alt](a.png) hey")["exclamations"] == 0


def test_upper_case_is_a_share_of_letters() -> None:
    assert measure("ABcd 12")["uppercase"] == 0.5
    assert measure("123")["uppercase"] == 0.0


def test_sentences_end_at_stops_and_line_breaks_only() -> None:
    assert measure("One two. Three four!")["sentence_words"] == 2
    assert measure("It costs 3.50 today")["sentence_words"] == 4
    assert measure("- one two\n- three four\n")["sentence_words"] == 2


def test_the_mean_profile_weighs_texts_equally() -> None:
    short, long = "Hi!", "one two three four"
    mean = mean_profile([short, long])
    assert mean["words"] == 2.5
    assert mean["exclamations"] == 50.0
    assert mean_profile([short]) == measure(short)


def test_no_texts_have_no_profile() -> None:
    assert mean_profile([]) == {}
