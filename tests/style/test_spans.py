import random
import re

import pytest

from steer_llama.style import SPANS, emoji_spans, markdown_spans, non_alphabetic_spans
from steer_llama.style.markup import read_markup


def marked(text: str, kind: str = "markdown") -> list[str]:
    return [text[start:end] for start, end in SPANS[kind](text)]


@pytest.mark.parametrize(
    "cluster",
    [
        "😀",
        "👨‍👩‍👧",  # a family joined by U+200D
        "🇫🇷",
        "👍🏽",
        "❤️",  # with U+FE0F
        "☺️",
        "©️",
        "1️⃣",
        "#️⃣",
        "🏳️‍🌈",
        "👩🏽‍💻",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",  # a flag of tag characters
        "😀\ufe0f",  # a variation selector that was not needed
        "👍\u200d",  # a joiner that joins nothing
    ],
)
def test_an_emoji_is_one_span_with_all_its_parts(cluster: str) -> None:
    assert emoji_spans(f"ab {cluster}!") == [(3, 3 + len(cluster))]


@pytest.mark.parametrize("text", ["☺", "❤", "✔", "©", "™", "1", "#", "*", "1\ufe0f", "e\ufe0f", "⌚\ufe0e", "🇫", ":)"])
def test_what_is_shown_as_text_is_no_emoji(text: str) -> None:
    assert emoji_spans(f"a {text} b") == []


def test_emoji_in_a_row_are_counted_one_by_one() -> None:
    assert marked("😀😀🇫🇷🇩🇪", "emoji") == ["😀", "😀", "🇫🇷", "🇩🇪"]


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4",
        "snake_case_name",
        "a #hashtag and C#",
        "5 > 3 and 2 < 4",
        "one - two - three",
        "a | b",
        "\\*not\\* \\# this",
        "[brackets] (and more)",
        "an open ` backtick and an open **",
        "see you at 3. Then go",
        "",
    ],
)
def test_prose_has_no_markup(text: str) -> None:
    assert markdown_spans(text) == []


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("## Title *it* ##", ["##", "*", "*", "##"]),
        ("Set\nmore\n====", ["===="]),
        ("two\n---\n\n---\n", ["---", "---"]),
        ("a **b** *c* ***d*** __e__", ["**", "**", "*", "*", "***", "***", "__", "__"]),
        ("***a** b*", ["***", "**", "*"]),
        ("**a *b***", ["**", "*", "***"]),
        ("**a\nb**", ["**", "**"]),
        ("~~s~~ `a*b*` ``c`d``", ["~~", "~~", "`", "`", "``", "``"]),
        ("1. a\n2) b\n10. c", ["1.", "2)", "10."]),
        ("- a\n  * **b** c\n    + d\n", ["-", "*", "**", "**", "+"]),
        ("-\ta\n\n\t- *b*", ["-", "-", "*", "*"]),
        ("> q\nlazy > on\n> > in", [">", ">", ">"]),
        ("- > a\n  > b", ["-", ">", ">"]),
        ("```python\n# no\n* no **no**\n```\nafter", ["```python", "```"]),
        ("~~~\nnever *closed*\n", ["~~~"]),
        ("    # indented code * is *text*", []),
        ("see [the *page*](http://a.b 'title').", ["[", "*", "*](http://a.b 'title')"]),
        ("![alt *text*](i.png) <http://a.b>", ["![", "](i.png)", "<", ">"]),
        ("[a\nb](http://c\n'x')", ["[", "](http://c", "'x')"]),
        ("a [ref] b\n\n[ref]: http://c", ["[", "]", "[ref]: http://c"]),
        ("| a | **b** |\n|---|:-:|\n| a | a |", ["|", "|", "**", "**", "|", "|---|:-:|", "|", "|", "|"]),
        ("a\\|b | c\n--|--", ["|", "--|--"]),
        ("# A\r\n\r\n- **b**\r\n- c\r\n", ["#", "-", "**", "**", "-"]),
        ("a\u2028# b\n# c", ["#"]),  # a line separator ends no markdown line
        ("\0 **a**\n# \0 *b*", ["**", "**", "#", "*", "*"]),
        ("👨‍👩‍👧 **é** *x*", ["**", "**", "*", "*"]),
    ],
)
def test_markup_is_found_where_it_stands(text: str, marks: list[str]) -> None:
    assert marked(text) == marks


def test_equal_cells_of_a_table_are_told_apart() -> None:
    text = "| *a* | *a* |\n|---|---|\n"
    assert [start for start, _ in markdown_spans(text)][:8] == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize("seed", range(200))
def test_emphasis_marks_add_up(seed: int) -> None:
    text = "x" + "".join(random.Random(seed).choices("ab *_~", k=30))
    markup = read_markup(text)
    counts = markup.counts
    expected = 4 * counts["bold"] + 2 * counts["italics"] + 4 * counts["struck"]
    assert sum(end - start for start, end in markup.spans) == expected
    assert all(set(text[start:end]) <= set("*_~") for start, end in markup.spans)


def test_non_alphabetic_leaves_letters_with_their_marks_and_whitespace() -> None:
    assert marked("Héllo, wörld 42!\n", "non_alphabetic") == [",", "42!"]
    assert non_alphabetic_spans("e\u0301t\u00e9 नमस्ते می\u200cخواهم") == []
    assert marked("no 👨‍👩‍👧 ❤️", "non_alphabetic") == ["👨‍👩‍👧", "❤️"]


PIECES = [
    "a",
    "B é",
    " ",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "    ",
    "#",
    "# ",
    "*",
    "**",
    "_",
    "`",
    "```",
    "- ",
    "1. ",
    "> ",
    "|",
]
PIECES += [
    "---",
    "===",
    "[",
    "](",
    ")",
    "!",
    "<",
    ">",
    "\\",
    "~~",
    "😀",
    "👨‍👩‍👧",
    "1️⃣",
    "\ufe0f",
    "\u200d",
    "\0",
    "\u2028",
    "|-|-|\n",
]
PIECES += ["[a]: b\n", "[a]", "http://c.d", "🇫", "&amp;", "\x0c", "\u00a0"]


@pytest.mark.parametrize("seed", range(300))
def test_spans_are_sorted_disjoint_and_in_range(seed: int) -> None:
    chosen = random.Random(seed)
    text = "".join(chosen.choices(PIECES, k=chosen.randint(0, 40)))
    for kind, find in SPANS.items():
        end = 0
        for span in find(text):
            assert end <= span[0] < span[1] <= len(text), (kind, text)
            end = span[1]


def test_every_line_ending_gives_the_same_markup() -> None:
    text = "# A\n\n- **b**\n  > c\n\n```\nd\n```\n"
    for ending in ("\r\n", "\r"):
        other = text.replace("\n", ending)
        assert marked(other) == marked(text)
        assert re.sub("\r\n|\r", "\n", other) == text
