"""Dots with their 95% intervals, one line each. plotly reads its texts as HTML: names are escaped here."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from steer_llama.evaluation.figures.canvas import ARM_COLOURS, QUIET, as_html
from steer_llama.evaluation.shown import StyleRow, number, spread
from steer_llama.records import Interval


@dataclass(frozen=True)
class Dot:
    """One line of a dot plot."""

    label: str
    arm: str
    interval: Interval


@dataclass(frozen=True)
class Mark:
    """A line across the plot with a name."""

    at: float
    text: str


def dot_plot(
    name: str,
    dots: Sequence[Dot],
    *,
    scale: float,
    unit: str,
    within: tuple[float, float],
    marks: Sequence[Mark] = (),
    full: bool = False,
) -> str:
    """The dots with their figures written under their names; what lies outside is an arrow at the edge.

    Args:
        name: unique in the page.
        dots: from the top down.
        scale: what the intervals are multiplied by.
        unit: of the scaled values.
        within: what is shown at the most.
        marks: names of values.
        full: whether all of it is shown, else no more than the values and 0 need.
    """
    shown = [dot for dot in dots if dot.interval.n and math.isfinite(dot.interval.mean)]
    first, last = within if full else _reach(shown, scale, within, marks)
    figure = go.Figure()
    ticks = []
    for place, dot in enumerate(shown):
        mean, low, high = (scale * value for value in (dot.interval.mean, dot.interval.low, dot.interval.high))
        colour = ARM_COLOURS.get(dot.arm, QUIET)
        outside = not first <= mean <= last
        at = min(max(mean, first), last)
        if math.isfinite(low) and math.isfinite(high):
            ends = [max(low, first), min(high, last)]
            line = {"color": colour, "width": 3}
            figure.add_scatter(x=ends, y=[place, place], mode="lines", line=line, hoverinfo="skip", opacity=0.75)
        figure.add_scatter(
            x=[at],
            y=[place],
            mode="markers",
            cliponaxis=False,
            marker={
                "size": 13,
                "color": colour,
                "symbol": "circle" if not outside else "triangle-left" if mean < first else "triangle-right",
            },
            hovertemplate=f"{number(mean)}{unit}<br>{dot.interval.n} questions<extra></extra>",
        )
        ticks.append(f"<b>{html.escape(dot.label, quote=False)}</b><br>{spread(dot.interval, scale, unit=unit)}")
    for mark in marks:
        if first <= mark.at <= last:
            _rule(figure, mark)
    pad = 0.03 * (last - first)
    figure.update_xaxes(range=[first - pad, last + pad], ticksuffix="%" if unit == "%" else "", nticks=5, tickangle=0)
    figure.update_yaxes(
        tickvals=list(range(len(shown))), ticktext=ticks, range=[len(shown) - 0.5, -0.5], showgrid=False
    )
    return as_html(figure, name, 75 + 46 * max(len(shown), 2), above=14 if marks else 0)


def style_plot(rows: Sequence[StyleRow], arms: Sequence[tuple[str, str]]) -> str:
    """How far each arm lies from the source in every feature, in units of the distance; the source is the goal, 0.

    Args:
        rows: the features.
        arms: arm and label, in the order of the legend; the source is not among them.
    """
    figure = go.Figure()
    step = 0.56 / max(len(arms) - 1, 1)
    for number_, (arm, label) in enumerate(arms):
        gaps = [row.gap(arm) for row in rows]
        at = [(place, row, gap) for place, (row, gap) in enumerate(zip(rows, gaps, strict=True)) if gap is not None]
        colour = ARM_COLOURS.get(arm, QUIET)
        figure.add_scatter(
            x=[gap.mean for _, _, gap in at],
            y=[place - 0.28 + step * number_ for place, _, _ in at],
            error_x={
                "array": [gap.high - gap.mean for _, _, gap in at],
                "arrayminus": [gap.mean - gap.low for _, _, gap in at],
                "color": colour,
                "thickness": 2,
                "width": 0,
            },
            mode="markers",
            marker={"size": 12 if arm == "steered" else 9, "color": colour},
            name=html.escape(label, quote=False),
            text=[f"{spread(row.values.get(arm))}, source {spread(row.values.get('source'))}" for _, row, _ in at],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": QUIET, "width": 1.5, "dash": "dot"})
    for edge in range(1, len(rows)):
        figure.add_hline(y=edge - 0.5, line={"color": "rgba(128,128,128,0.22)", "width": 1})
    ticks = [
        f"<b>{html.escape(row.label, quote=False)}</b><br>source {number(row.values['source'].mean)}" for row in rows
    ]
    figure.update_xaxes(title="units of the style distance", nticks=6, tickangle=0)
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=ticks, range=[len(rows) - 0.5, -0.5], showgrid=False)
    return as_html(figure, "style", 140 + 58 * len(rows), legend=True)


def _rule(figure: go.Figure, mark: Mark) -> None:
    figure.add_vline(x=mark.at, line={"color": QUIET, "width": 1.5, "dash": "dot"})
    text = html.escape(mark.text, quote=False)
    place = {"yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False}
    figure.add_annotation(x=mark.at, text=text, font={"size": 12}, **place)


def _reach(
    dots: Sequence[Dot], scale: float, within: tuple[float, float], marks: Sequence[Mark]
) -> tuple[float, float]:
    """The ends of the axis: what the values and the marks need of ``within``."""
    ends = [scale * end for dot in dots for end in (dot.interval.low, dot.interval.mean, dot.interval.high)]
    known = [*(end for end in ends if math.isfinite(end)), *(mark.at for mark in marks)]
    return max(within[0], min(0.0, *known)), min(within[1], max(0.0, *known))
