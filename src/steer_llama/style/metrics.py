"""Trait scores that are counted, not judged: the same text has the same score, and no model is needed.

Each is a rate per 100 words on a scale that saturates: at its full-scale rate a text shows the trait throughout, and
more of it is not more trait. The scales were set against forty answers each of Pi and of Llama-3.3-70B-Instruct to
explanatory questions and to whimsical ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import regex

from steer_llama.errors import ConfigError
from steer_llama.style.features import count_exclamations, count_words, per_100_words, prose
from steer_llama.style.markup import read_markup
from steer_llama.style.spans import emoji_spans

EMOJI_FULL_SCALE = 5.0
"""Emoji per 100 words: two in three short sentences."""
MARKUP_FULL_SCALE = 5.0
"""Markup items per 100 words: a list item with a bold lead word every forty words. Of Llama's forty answers 38 reach
80 points here; Pi's, plain prose or a bare list, average 69; prose has 0."""
PLAYFUL_FULL_SCALE = 8.0
"""Playful marks per 100 words: one in every sentence. On whimsical questions Pi averages 63 points and Llama 20;
on explanatory ones Llama has 0."""
EXCLAMATION_FULL_SCALE = 5.0
"""Exclamation marks per 100 words: every other sentence."""
LENGTH_FULL_SCALE = 300
"""Words."""

_MARKUP = ("headings", "bullets", "bold", "italics", "code", "links", "quotes", "table_rows")
_VISIBLE = regex.compile(r"[^\s\p{C}]")
_INTERJECTION = regex.compile(
    r"\b(?:a?ha(?:[ -]?ha)+h*|he(?:he)+|hihi|tee-?hee|lol|oo+h+|aw+w|ya+y|woo+(?:-?hoo+)?|whee+|wow(?:ie|za)?"
    r"|oops(?:ie)?|whoops(?:ie)?|ta-?da+h?|hoo+ray|hurray|yippee|phew|yikes|boop|boing)\b",
    regex.IGNORECASE,
)


@dataclass(frozen=True)
class Metric:
    """A trait score that is counted."""

    name: str
    description: str
    """What is counted, and where the scale ends."""
    score: Callable[[str], float | None]
    """0–100, or ``None`` for a text without a visible character: an empty answer has no style."""
    count: Callable[[str], int]
    """How many marks the text has."""


def count_emoji(text: str) -> int:
    """Emoji, each of a row."""
    return len(emoji_spans(text))


def count_markup(text: str) -> int:
    """Headings, list items, bold and italic stretches, code, links, quotes and table rows."""
    counts = read_markup(text).counts
    return sum(counts[kind] for kind in _MARKUP)


def count_playful(text: str) -> int:
    """Emoji, exclamation marks, laughter and interjections ("haha", "ooh", "yay")."""
    return count_emoji(text) + count_exclamations(text) + len(_INTERJECTION.findall(prose(text)))


def _rate_metric(name: str, what: str, count: Callable[[str], int], full_scale: float) -> Metric:
    def score(text: str) -> float | None:
        if not _VISIBLE.search(text):
            return None
        return 100.0 * min(1.0, per_100_words(count(text), text) / full_scale)

    return Metric(name, f"{what}; 100 at {full_scale:g} or more per 100 words", score, count)


def _length_score(text: str) -> float | None:
    return 100.0 * min(1.0, count_words(text) / LENGTH_FULL_SCALE) if _VISIBLE.search(text) else None


_ALL = (
    _rate_metric("emoji", "emoji", count_emoji, EMOJI_FULL_SCALE),
    _rate_metric("exclamation", "exclamation marks", count_exclamations, EXCLAMATION_FULL_SCALE),
    Metric("length", f"words; 100 at {LENGTH_FULL_SCALE} or more", _length_score, count_words),
    _rate_metric(
        "markdown",
        "headings, list items, bold, italics, code, links, quotes and table rows",
        count_markup,
        MARKUP_FULL_SCALE,
    ),
    _rate_metric("playful", "emoji, exclamation marks, laughter and interjections", count_playful, PLAYFUL_FULL_SCALE),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Every metric by its name."""


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        ConfigError: there is none; the text names those that there are.
    """
    if name not in METRICS:
        raise ConfigError(f"no metric {name!r}. There are: {', '.join(METRICS)}. Set judge.metric to one of them.")
    return METRICS[name]
