"""Text out of files, made harmless for Markdown: a card shows what a file says and never does what it says."""

import re

_CUT = 400
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#|~&$:@!])")
_AT_THE_BEGINNING = re.compile(r"^(\d*)([-+=]|\.(?=\s|$))")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def plain(value: object, cut: int = _CUT) -> str:
    """A value as inline text: one line, no markup, no links, at most ``cut`` characters of it."""
    text = _one_line(value, cut)
    text = _SPECIAL.sub(r"\\\1", text)
    text = text.replace("www.", "www\\.")  # which would be made a link
    return _AT_THE_BEGINNING.sub(r"\1\\\2", text)


def code(value: object, cut: int = _CUT) -> str:
    """A value as inline code, also in a table."""
    text = _one_line(value, cut).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else "(not told)"


def _one_line(value: object, cut: int) -> str:
    text = _CONTROL.sub(" ", str(value)).strip()
    return text if len(text) <= cut else text[: cut - 1] + "…"
