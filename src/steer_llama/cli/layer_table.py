"""A vector's evidence as a table with a row per layer, which fits the terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from steer_llama.stages.inspect import Inspected
    from steer_llama.vectors.columns import Column

_MOST_ROWS = 48
"""Layers that are all shown; of more, every second or third."""
_BAR = (4, 24)
"""Fewest and most characters of a bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HEIGHTS = "▁▂▃▄▅▆▇█"

_TITLES = {
    "split_half_cosine": ("halves", "cosine between the directions of two halves of the pairs"),
    "null_p": ("p", "share of arms swapped at random that give as long a direction"),
    "opposed_share": ("opp.", "share of pairs that point the other way"),
    "held_out_auroc": ("AUROC", "how well the direction parts pairs it was not fitted on"),
    "held_out_cohens_d": ("d", "Cohen's d on those pairs"),
}
"""Evidence that is one number a layer: its title, and what it means."""


@dataclass(frozen=True)
class _Shown:
    title: str
    meaning: str
    cells: list[str]
    key: str = ""
    """Of the evidence."""

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in (self.title, *self.cells))


def show_layers(console: Console, one: "Inspected", every_layer: bool) -> None:
    """Print the table, what its columns mean, and what it leaves out."""
    vector, strength = one.vector, one.relative_norm or one.norm
    lengths = [value or 0.0 for value in strength.value or ()]
    rows = _rows(one, lengths, every_layer)
    columns = _columns(one)
    known = {column.key for column in columns}
    left_out: list[str] = []
    while len(columns) > 2 and _room(console, columns) < _BAR[0]:
        left_out.insert(0, columns.pop().title)
    bar = min(_BAR[1], _room(console, columns))
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    marked = len(columns[:2]) if one.relative_norm is None else 3
    for number, column in enumerate(columns):
        table.add_column(Text(column.title), justify="right", no_wrap=True)
        if number + 1 == marked and bar >= _BAR[0]:
            table.add_column("", no_wrap=True)
    beyond = _below_null(one)
    for row in rows:
        cells = [Text(column.cells[row]) for column in columns]
        if bar >= _BAR[0]:
            cells.insert(marked, Text(_bar(lengths[row], max(lengths), bar), style="cyan"))
        best = vector.layers[row] == vector.recommended_layer
        table.add_row(*cells, style="bold" if best else "dim" if row in beyond else "")
    console.print(table)
    if len(rows) < len(lengths):
        console.print(Text(f"{len(rows)} of {len(lengths)} layers (all: --every-layer); over all of them:"))
        console.print(Text(_skyline(lengths, console.width), style="cyan"))
    meanings = [f"{column.title}: {column.meaning}" for column in columns if column.meaning]
    if vector.recommended_layer is not None:
        meanings.insert(0, "▸: recommended")
    console.print(Text(" · ".join(meanings), style="dim"))
    if left_out:
        console.print(Text(f"Too wide for this terminal: {', '.join(left_out)} (see --json)."))
    if further := [key for key in one.columns if key not in known]:
        console.print(Text("also per layer (see --json): ").append_text(_names(further)))


def _names(keys: Sequence[str]) -> Text:
    from steer_llama.cli.untrusted import plain

    return plain(", ".join(keys))


def _rows(one: "Inspected", lengths: Sequence[float], every_layer: bool) -> list[int]:
    """Which rows of the vector are shown: ascending layers; always the first, last, longest and recommended."""
    layers = one.vector.layers
    order = sorted(range(len(layers)), key=layers.__getitem__)
    if every_layer or len(order) <= _MOST_ROWS:
        return order
    kept = set(order[:: math.ceil(len(order) / _MOST_ROWS)]) | {order[-1], max(order, key=lengths.__getitem__)}
    return [row for row in order if row in kept or layers[row] == one.vector.recommended_layer]


def _columns(one: "Inspected") -> list[_Shown]:
    layers, best = one.vector.layers, one.vector.recommended_layer
    shown = [_Shown("layer", "", [f"{'▸' if layer == best else ''}{layer}" for layer in layers])]
    shown.append(_Shown("‖v‖", "", [f"{norm:#.3g}".rstrip(".") for norm in one.norm.value or ()]))
    if one.relative_norm is not None:
        shown.append(_Shown("rel.", "‖v‖ over the residual's mean norm", _cells(one.relative_norm, "{:.2f}")))
    boot = one.columns.get("bootstrap_cosine")
    if boot is not None and boot.value is not None:
        shown.append(
            _Shown("cosine", "with the direction of resampled pairs", _cells(boot, "{:.2f}"), "bootstrap_cosine")
        )
    if boot is not None and boot.low is not None and boot.high is not None:
        cells = [f"{_number(low)}–{_number(high)}" for low, high in zip(boot.low, boot.high, strict=True)]
        shown.append(_Shown("95%", "its interval", cells, "bootstrap_cosine"))
    null = one.columns.get("null_norm")
    if null is not None and null.value is not None:
        meaning = "‖v‖ over what swapped arms give at most; ◁ is no more than chance"
        shown.append(_Shown("×null", meaning, _over(one, null), "null_norm"))
    for key, (title, meaning) in _TITLES.items():
        column = one.columns.get(key)
        if column is not None and column.value is not None:
            shown.append(_Shown(title, meaning, _cells(column, "{:.2g}" if key == "null_p" else "{:.2f}"), key))
    return shown


def _over(one: "Inspected", null: "Column") -> list[str]:
    pairs = zip(one.norm.value or (), null.value or (), strict=True)
    ratios = [norm / limit if norm is not None and limit else None for norm, limit in pairs]
    return ["–" if ratio is None else f"{'◁' if ratio < 1 else ''}{ratio:.1f}" for ratio in ratios]


def _below_null(one: "Inspected") -> set[int]:
    null = one.columns.get("null_norm")
    pairs = zip(one.norm.value or (), (null and null.value) or (), strict=False)
    return {row for row, (norm, limit) in enumerate(pairs) if norm is not None and limit and norm < limit}


def _cells(column: "Column", form: str) -> list[str]:
    return ["–" if value is None else form.format(value) for value in column.value or ()]


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def _room(console: Console, columns: Sequence[_Shown]) -> int:
    """Characters that are left for the bars."""
    return console.width - sum(column.width + 1 for column in columns) - 1


def _bar(value: float, most: float, width: int) -> str:
    eighths = round(8 * width * value / most) if most > 0 else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _skyline(values: Sequence[float], width: int) -> str:
    """One character a layer, or for several layers where there are more than the terminal is wide."""
    each = math.ceil(len(values) / width)
    most = max(values) or 1.0
    groups = [max(values[begin : begin + each]) for begin in range(0, len(values), each)]
    return "".join(_HEIGHTS[min(7, int(8 * value / most))] for value in groups)
