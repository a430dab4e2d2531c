"""A monitored text in a terminal: colours where it has them, else tables."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from steer_llama.cli.untrusted import plain

if TYPE_CHECKING:
    from steer_llama.records import Averages, Axis, Monitored, MonitoredText, Part

_MIDDLE, _MORE, _LESS = (138, 138, 138), (255, 150, 30), (70, 145, 255)
"""Grey, orange and blue: told apart by every common kind of colour vision, and readable under black."""
_FAINT = 0.12
"""Share of the scale below which a part stays as the terminal has it."""
_RAMP = 21
_CONTEXT = 24
"""Characters on either side of a strong part in the table."""
_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def show(console: Console, monitored: "Monitored", strongest: int) -> None:
    """Print every axis, one after the other."""
    coloured = console.is_terminal and not console.no_color and console.color_system in ("256", "truecolor")
    for number, axis in enumerate(monitored.axes):
        console.print(_title(axis), soft_wrap=True)
        if coloured:
            _show_legend(console, axis)
            for text in monitored.texts:
                if len(monitored.texts) > 1:
                    console.print(plain(text.name, 200), style="bold", soft_wrap=True)
                _show_coloured(console, text, number, axis)
        else:
            console.print(_means(monitored, number))
            console.print(_strongest(monitored, number, axis, strongest))
        for role, each in monitored.roles.items():
            console.print(
                Text("all of role ").append_text(plain(role, 40)).append(f": {_told(each, number)}"), soft_wrap=True
            )
        for text in monitored.texts:
            if drift := _drift(text, number):
                name = plain(f"{text.name}: ", 80) if len(monitored.texts) > 1 else Text()
                console.print(name.append(drift), soft_wrap=True)
        console.print()


def visible(text: str) -> str:
    """The same with signs for what a terminal would obey: control characters (not line ends, tabs) and directions."""
    return "".join(_sign(character) for character in text)


def _sign(character: str) -> str:
    if character in "\n\t":
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if character in _DIRECTIONS or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}:
        return f"‹U+{code:04X}›"
    return character


def _title(axis: "Axis") -> Text:
    text = Text("── ", style="dim").append_text(plain(axis.name, 60)).append(f", layer {axis.layer}")
    text.stylize("bold")
    text.append(f" ({axis.layer_reason}); strength = projection / {axis.residual_norm:.4g}", style="dim")
    if axis.residual_norm_from == "text":
        text.append(", this text's own mean residual norm, for the vector does not say one", style="dim")
    return text


def _show_legend(console: Console, axis: "Axis") -> None:
    ramp = Text(f"{axis.centre - axis.limit:+.2f} ")
    for step in range(_RAMP):
        ramp.append(" ", _style(2 * step / (_RAMP - 1) - 1))
    ramp.append(f" {axis.centre + axis.limit:+.2f}")
    console.print(ramp)
    told = (
        f"uncoloured: {axis.centre:+.3f} ({axis.centre_from}); {axis.limit_from}, {axis.beyond} tokens are further out"
    )
    legend = Text(f"{told}; ", style="dim").append("massive", _massive())
    console.print(legend.append(": ‖residual‖ 3 or more times the median, not on this scale"), soft_wrap=True)


def _show_coloured(console: Console, text: "MonitoredText", number: int, axis: "Axis") -> None:
    massive = frozenset(text.massive[number])
    shown: dict[int, Text] = {}
    for part in text.parts:
        if part.message is None:  # the template's
            continue
        value = _value(text, part, number)
        style = Style()
        if massive.intersection(part.tokens):
            style = _massive()
        elif value is not None:
            style = _style((value - axis.centre) / axis.limit)
        shown.setdefault(part.message, Text()).append(visible(text.text[part.start : part.end]), style)
    for index, message in enumerate(text.messages):
        head = plain(message.role, 40).append(f": {_told(message.averages, number)}")
        console.print(head, style="dim", soft_wrap=True)
        console.print(shown.get(index, Text("(empty)", style="dim")), soft_wrap=True)


def _value(text: "MonitoredText", part: "Part", number: int) -> float | None:
    """Mean strength of the part's tokens."""
    values = [text.strength[number][token] for token in part.tokens]
    return sum(values) / len(values) if values else None


def _style(share: float) -> Style:
    share = max(-1.0, min(1.0, share))
    if abs(share) < _FAINT:
        return Style()
    full = _MORE if share > 0 else _LESS
    red, green, blue = (round(a + (b - a) * abs(share)) for a, b in zip(_MIDDLE, full, strict=True))
    return Style(color=Color.from_rgb(0, 0, 0), bgcolor=Color.from_rgb(red, green, blue))


def _massive() -> Style:
    return Style(underline=True, italic=True)


def _told(each: "Averages", number: int) -> str:
    mean, count = each.strength[number], each.massive[number]
    told = f"mean {_number(mean)} over {each.tokens} tokens"
    return f"{told} ({_number(each.ordinary_strength[number])} without {count} massive)" if count else told


def _drift(text: "MonitoredText", number: int) -> str:
    """The answers' means in their order."""
    answers = [message.averages for message in text.messages if message.role == "assistant"]
    means = [_number(each.ordinary_strength[number]) for each in answers]
    if len(means) < 2:
        return ""
    without = " (without massive tokens)" if any(each.massive[number] for each in answers) else ""
    return f"assistant turns{without}: {' → '.join(means)}"


def _means(monitored: "Monitored", number: int) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    several = len(monitored.texts) > 1
    for title in [*(["text"] if several else []), "message"]:
        table.add_column(title, overflow="fold")
    for title in ("tokens", "mean strength", "mean projection", "massive", "without them"):
        table.add_column(title, justify="right")
    for text in monitored.texts:
        for index, message in enumerate(text.messages, start=1):
            each = message.averages
            without = _number(each.ordinary_strength[number]) if each.massive[number] else ""
            table.add_row(
                *([plain(text.name, 80)] if several else []),
                Text(f"{index} ").append_text(plain(message.role, 40)),
                str(each.tokens),
                _number(each.strength[number]),
                _number(each.projection[number], 2),
                str(each.massive[number] or ""),
                without,
            )
    return table


@dataclass(frozen=True)
class _Strong:
    text: "MonitoredText"
    part: "Part"
    value: float


def _strongest(monitored: "Monitored", number: int, axis: "Axis", count: int) -> Table:
    title = f"strongest tokens, from {axis.centre:+.3f} ({axis.centre_from}); massive ones left out"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
    table.add_column("strength", justify="right")
    table.add_column("from it", justify="right")
    table.add_column("where", overflow="fold")
    found = sorted(_candidates(monitored, number), key=lambda each: each.value, reverse=True)
    most, least = found[:count], found[max(count, len(found) - count) :]
    for each in (*most, *least):
        table.add_row(_number(each.value), _number(each.value - axis.centre), _in_context(each))
    return table


def _candidates(monitored: "Monitored", number: int) -> Iterator[_Strong]:
    for text in monitored.texts:
        massive = frozenset(text.massive[number])
        for part in text.parts:
            value = _value(text, part, number)
            if part.message is not None and value is not None and not massive.intersection(part.tokens):
                yield _Strong(text, part, value)


def _in_context(strong: _Strong) -> Text:
    whole, part = strong.text.text, strong.part
    before = _line(whole[max(0, part.start - _CONTEXT) : part.start])
    after = _line(whole[part.end : part.end + _CONTEXT])
    return Text(f"{before}⟦{_line(whole[part.start : part.end])}⟧{after}")


def _line(text: str) -> str:
    return visible(text).replace("\n", "↵").replace("\t", "⇥")


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:+.{digits}f}"
