"""A picture of vectors over the layers: how long they are, how sure, how well they part; by matplotlib."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steer_llama.files import atomic_path
from steer_llama.vectors.columns import Column, evidence_columns, norm_column, relative_norm_column
from steer_llama.vectors.vector import SteeringVector

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which people who see colours differently can tell apart."""
_QUIET = "#777777"
_AGREEMENT = {
    "bootstrap_cosine": "cosine with resampled pairs' direction, and its 95% interval",
    "split_half_cosine": "cosine between halves of the pairs",
    "held_out_auroc": "AUROC on held-out pairs",
}
_LONGEST = 60
"""Characters of a name."""


def draw(path: Path, vectors: Sequence[tuple[str, SteeringVector]]) -> None:
    """Write a PNG of one vector's evidence over the layers, or of several vectors' beside each other.

    Raises:
        StorageError: the place cannot be written.
    """
    figure = Figure(figsize=(8, 6.4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    length, agreement = figure.subplots(2, 1, sharex=True)
    _draw_lengths(length, vectors)
    _draw_agreement(agreement, vectors)
    agreement.set_xlabel("layer (0-based block, at its output)")
    agreement.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (length, agreement):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            for text in axes.legend(fontsize="small", framealpha=0.8).get_texts():
                text.set_parse_math(False)
    title = length.set_title(_plain(" · ".join(name for name, _ in vectors)), fontsize="medium", wrap=True)
    title.set_parse_math(False)
    with atomic_path(path) as temporary, warnings.catch_warnings(action="ignore"):  # glyphs that the font has not
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw_lengths(axes: Axes, vectors: Sequence[tuple[str, SteeringVector]]) -> None:
    relative, alone = all(vector.residual_norm_L is not None for _, vector in vectors), len(vectors) == 1
    axes.set_ylabel("‖v‖ / mean ‖residual‖" if relative else "‖v‖")
    for number, (name, vector) in enumerate(vectors):
        colour = _COLOURS[number % len(_COLOURS)]
        found = relative_norm_column(vector) if relative else norm_column(vector)
        _line(axes, vector, found, "‖v‖" if alone else name, colour)
        label = "null: 95% quantile with arms swapped at random" if alone else ""
        _line(axes, vector, _null(vector, relative), label, _QUIET if alone else colour, "--")
        if (best := vector.recommended_layer) is not None:
            label = f"recommended: layer {best}" if alone else ""
            axes.axvline(best, color=colour, alpha=0.5, linestyle=":", label=label or None)
    if not alone and any(line.get_linestyle() == "--" for line in axes.get_lines()):
        axes.plot([], [], "--", color=_QUIET, label="null of each, if known")
    axes.set_ylim(bottom=0)


def _null(vector: SteeringVector, relative: bool) -> Column | None:
    null = evidence_columns(vector).get("null_norm")
    if null is None or null.value is None or vector.residual_norm_L is None or not relative:
        return null
    pairs = zip(null.value, vector.residual_norm_L, strict=True)
    return Column(tuple(None if value is None else value / float(residual) for value, residual in pairs))


def _draw_agreement(axes: Axes, vectors: Sequence[tuple[str, SteeringVector]]) -> None:
    """One vector: all its measures; several: one measure of each, the first that any of them has."""
    columns = [evidence_columns(vector) for _, vector in vectors]
    shown = [key for key in _AGREEMENT if any(key in found for found in columns)]
    if not shown:
        axes.set_ylabel("cosine, AUROC")
        axes.text(0.5, 0.5, "no evidence in the file", transform=axes.transAxes, ha="center", color=_QUIET)
        return
    low = 0.0
    if len(vectors) == 1:
        axes.set_ylabel("cosine" if shown[-1] != "held_out_auroc" else "cosine, AUROC")
        for colour, key in zip(_COLOURS, shown, strict=False):
            low = min(low, _line(axes, vectors[0][1], columns[0][key], _AGREEMENT[key], colour))
    else:
        axes.set_ylabel("AUROC" if shown[0] == "held_out_auroc" else "cosine")
        axes.set_title(_AGREEMENT[shown[0]], fontsize="small")
        for number, ((name, vector), found) in enumerate(zip(vectors, columns, strict=True)):
            column = found.get(shown[0])
            low = min(low, _line(axes, vector, column, name, _COLOURS[number % len(_COLOURS)]))
    axes.set_ylim(max(-1.05, low - 0.05), 1.05)


def _line(
    axes: Axes, vector: SteeringVector, column: Column | None, label: str, colour: str, style: str = "-"
) -> float:
    """A line over the layers with its interval; gives the lowest value."""
    if column is None or column.value is None:
        return 0.0
    order = sorted(range(len(vector.layers)), key=vector.layers.__getitem__)
    layers = [vector.layers[row] for row in order]
    value = [_number(column.value[row]) for row in order]
    dot = "o" if len(order) <= 40 and style == "-" else None
    axes.plot(layers, value, style, color=colour, label=_plain(label) or None, marker=dot, markersize=3, linewidth=1.5)
    if column.low is None or column.high is None:
        return _lowest(value)
    low, high = ([_number(part[row]) for row in order] for part in (column.low, column.high))
    axes.fill_between(layers, low, high, color=colour, alpha=0.18, linewidth=0)
    return _lowest(low)


def _lowest(values: Sequence[float]) -> float:
    return min((value for value in values if not math.isnan(value)), default=0.0)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _plain(text: str) -> str:
    """A name as matplotlib draws it: one that begins with _ would be left out of the legend."""
    text = "".join(character if character.isprintable() else "�" for character in text)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f" {text}" if text.startswith("_") else text
