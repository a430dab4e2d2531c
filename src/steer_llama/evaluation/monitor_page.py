"""A monitored text as one HTML page that needs no network: coloured, with the values under the pointer."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from steer_llama.records import Averages, Monitored, MonitoredText

_TEMPLATE = "monitor.html.j2"
_DIGITS = 4
"""Of the strengths on the page; `--json` has more."""


@dataclass(frozen=True)
class Section:
    """A message, or what the chat template puts between two."""

    message: int | None
    role: str
    parts: tuple[tuple[int, str], ...]
    """Numbers and texts. One after the other the texts are the whole text."""


def render_monitored(monitored: Monitored, title: str) -> str:
    """The page.

    Args:
        monitored: what was found.
        title: of the page.

    Returns:
        HTML in which every text that came from a model, a user or a file is escaped.
    """
    # Always on: the default goes by file name and would leave ".j2" unescaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["exact"] = exact
    source = (resources.files("steer_llama.packaged") / _TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(
        title=title,
        monitored=monitored,
        texts=[(text.name, sections(text)) for text in monitored.texts],
        data=_data(monitored),
    )


def exact(text: str) -> Markup:
    """Escaped so that a browser has the same characters: it would read a bare CR as a line feed, and NUL as U+FFFD."""
    return Markup(str(escape(text)).replace("\r", "&#13;").replace("\0", "␀"))


def sections(text: MonitoredText) -> Iterator[Section]:
    """The text's parts by the message that they stand in, in the order of the text."""
    numbered = enumerate(text.parts)
    for message, group in groupby(numbered, key=lambda each: each[1].message):
        role = "" if message is None else text.messages[message].role
        yield Section(message, role, tuple((index, text.text[part.start : part.end]) for index, part in group))


def _data(monitored: Monitored) -> dict[str, Any]:
    """What the page's script needs: numbers, and the axes' names."""
    axes = [axis.model_dump(mode="json", exclude={"file"}) for axis in monitored.axes]
    texts = [
        {
            "strength": [[_short(value) for value in row] for row in text.strength],
            "massive": text.massive,
            "parts": [part.tokens for part in text.parts],
            "messages": [_averages(message.averages) | {"role": message.role} for message in text.messages],
        }
        for text in monitored.texts
    ]
    roles = {role: _averages(each) for role, each in monitored.roles.items()}
    return {"axes": axes, "texts": texts, "roles": roles}


def _averages(each: Averages) -> dict[str, Any]:
    return each.model_dump(mode="json", include={"tokens", "strength", "massive", "ordinary_strength"})


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
