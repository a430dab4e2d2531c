"""Text from files, made fit for a terminal."""

import unicodedata

from rich.text import Text

_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of characters that a terminal takes for commands, or that it cannot print."""
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(value: object, limit: int = 300) -> Text:
    """As literal text on one line: no markup, no escape sequences, cut at ``limit`` characters."""
    text = " ".join(str(value).split()) if isinstance(value, str) else str(value)
    safe = "".join("�" if unicodedata.category(c) in _UNSAFE or c in _DIRECTIONS else c for c in text[:limit])
    return Text(safe + ("…" if len(text) > limit else ""))
