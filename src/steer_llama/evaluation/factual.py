"""Whether an answer says what it ought to: words are compared after spelling is levelled, and no pattern is needed."""

import unicodedata
from collections.abc import Sequence


def is_right(answer: str, accepted: Sequence[str]) -> bool:
    """Whether one of the ``accepted`` wordings stands in ``answer`` as whole words.

    Case, accents, punctuation and thousands separators make no difference. It does not see a denial ("not Paris"), nor
    that an answer names several things of which one is right.
    """
    said = f" {levelled(answer)} "
    return any(f" {levelled(wording)} " in said for wording in accepted)


def levelled(text: str) -> str:
    """The words of ``text`` with a blank between them: lower case, no accents, no punctuation.

    Between digits a point stays (3.5 is no 3) and a comma goes (1,000 is 1000).
    """
    plain = [char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char)]
    kept = [char if char.isalnum() else _mark(plain, place) for place, char in enumerate(plain)]
    return " ".join("".join(kept).split())


def _mark(text: Sequence[str], place: int) -> str:
    """What becomes of a character that is no letter and no digit."""
    between = 0 < place < len(text) - 1 and text[place - 1].isdigit() and text[place + 1].isdigit()
    return {".": ".", ",": ""}.get(text[place], " ") if between else " "
