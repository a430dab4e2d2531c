"""Lines over layers and over turns. plotly reads its texts as HTML: names are escaped here."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from steer_llama.evaluation.figures.canvas import ARM_COLOURS, LAYER_COLOURS, WINNER, as_html
from steer_llama.evaluation.shown import Course


def layer_plot(
    name: str,
    layers: Sequence[int],
    lines: Mapping[str, Sequence[float | None]],
    band: str | None,
    winner: int | None,
    axis: str,
) -> str:
    """Lines over the layers; ``band`` names the line whose ``… low`` and ``… high`` are drawn as an area."""
    figure = go.Figure()
    if band is not None and f"{band} low" in lines and f"{band} high" in lines:
        edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        figure.add_scatter(x=list(layers), y=list(lines[f"{band} low"]), **edge)
        figure.add_scatter(
            x=list(layers), y=list(lines[f"{band} high"]), fill="tonexty", fillcolor="rgba(74,127,214,0.22)", **edge
        )
    shown = [line for line in lines if band is None or line not in {f"{band} low", f"{band} high"}]
    for line, colour in zip(shown, (LAYER_COLOURS[0], ARM_COLOURS["steered"], LAYER_COLOURS[1]), strict=False):
        figure.add_scatter(
            x=list(layers),
            y=list(lines[line]),
            name=html.escape(line, quote=False),
            mode="lines+markers",
            line={"color": colour, "width": 2},
            hovertemplate="layer %{x}: %{y:.3f}<extra></extra>",
        )
    if winner is not None:
        figure.add_vline(x=winner, line={"color": WINNER, "width": 1.5, "dash": "dot"})
        figure.add_annotation(x=winner, yref="paper", y=1, text=" winner", showarrow=False, xanchor="left")
    figure.update_xaxes(title="layer")
    figure.update_yaxes(title=axis, rangemode="tozero")
    return as_html(figure, name, 320, legend=len(shown) > 1)


def turns_plot(name: str, course: Course) -> str:
    """A measure of the steered and of the unsteered answers over the turns of a conversation."""
    figure = go.Figure()
    for arm, values in (("unsteered", course.unsteered), ("steered", course.steered)):
        figure.add_scatter(
            x=list(course.turns),
            y=list(values),
            name=arm,
            mode="lines+markers",
            line={"color": ARM_COLOURS[arm], "width": 2},
            hovertemplate="turn %{x}: %{y:.3g}<extra></extra>",
        )
    figure.update_xaxes(title="turn", dtick=1)
    figure.update_yaxes(rangemode="tozero", nticks=5)
    return as_html(figure, name, 260, legend=True)
