import pytest

from steer_llama.errors import ConfigError
from steer_llama.style import METRICS, get_metric

PROSE = "The water rises into the air, cools down, and falls as rain. It then runs to the sea and rises again."
LISTED = """Here is how to sleep better:

**What helps:**

1. **A fixed time**: Go to bed at the same hour every night, on weekends too.
2. **A dark room**: Close the curtains and turn the screens off an hour before bed.
3. **No coffee**: Stop drinking coffee after lunch, since it stays in the body for hours.

Sleep comes more easily to those who keep to this for two weeks.
"""


@pytest.mark.parametrize("name", sorted(METRICS))
@pytest.mark.parametrize("text", ["", "  \n\t", "\u200b\ufeff"])
def test_an_empty_answer_is_unscored_not_zero(name: str, text: str) -> None:
    assert get_metric(name).score(text) is None
    assert get_metric(name).count(text) == 0


@pytest.mark.parametrize("name", sorted(METRICS))
@pytest.mark.parametrize("text", [PROSE, LISTED, "😀" * 50, "!!!", "###", "# " * 9, "hahaha! " * 40, "a\0b"])
def test_scores_stay_on_the_scale(name: str, text: str) -> None:
    score = get_metric(name).score(text)
    assert score is not None
    assert 0 <= score <= 100


@pytest.mark.parametrize("name", ["emoji", "exclamation", "markdown", "playful"])
def test_plain_prose_has_none_of_the_traits(name: str) -> None:
    assert get_metric(name).score(PROSE) == 0.0
    assert get_metric(name).count(PROSE) == 0


def test_the_scale_is_linear_up_to_its_end() -> None:
    words = "word " * 100
    emoji = get_metric("emoji")
    assert emoji.score(words + "😀") == pytest.approx(20)
    assert emoji.score(words + "😀" * 4) == pytest.approx(80)
    assert emoji.score(words + "😀" * 5) == emoji.score(words + "😀" * 50) == 100
    assert emoji.count(words + "😀 👨‍👩‍👧 🇫🇷") == 3


def test_emoji_alone_are_the_trait_at_full_strength() -> None:
    assert get_metric("emoji").score("😀") == 100


def test_a_typical_listed_answer_scores_high() -> None:
    score = get_metric("markdown").score(LISTED)
    assert score is not None
    assert score >= 80
    assert get_metric("markdown").count(LISTED) == 7


def test_tables_and_quotes_are_markup_too() -> None:
    assert get_metric("markdown").count("| a | b |\n|---|---|\n| c | d |\n\n> said\n") == 3


def test_stars_that_mark_nothing_are_not_markdown() -> None:
    assert get_metric("markdown").score("2 * 3 * 4 and snake_case and #hashtag") == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Haha, ooh, yay!", 4),
        ("HAHAHA, ha-ha, woohoo 😀", 4),
        ("The hat had a lollipop; however, they weighed it, too.", 0),
        ("Ta-da!! Whoops.", 4),
    ],
)
def test_playful_marks(text: str, count: int) -> None:
    assert get_metric("playful").count(text) == count


def test_exclamations_count_each_mark() -> None:
    assert get_metric("exclamation").count("Wow!!! Yes！") == 4


def test_length_is_in_words() -> None:
    assert get_metric("length").score("word " * 150) == pytest.approx(50)
    assert get_metric("length").score("word " * 900) == 100
    assert get_metric("length").score("😀") == 0


def test_an_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'smile'.*emoji, exclamation, length, markdown, playful"):
        get_metric("smile")


def test_names_and_descriptions() -> None:
    assert list(METRICS) == sorted(METRICS)
    assert all(metric.name == name and metric.description for name, metric in METRICS.items())
