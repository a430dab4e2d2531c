"""Pictures of the confirmation and of the vector's evidence. plotly reads its texts as HTML: names are escaped here."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from steer_llama.evaluation.figures.canvas import ARM_COLOURS, LAYER_COLOURS, QUIET, WINNER, as_html
from steer_llama.records import Interval, TestArm


def arms_plot(arms: Sequence[TestArm], of: Literal["share", "trait"]) -> str:
    """A dot and its 95% interval for every arm on the test questions."""
    scale = 100 if of == "share" else 1
    figure = go.Figure()
    for arm in arms:
        interval: Interval = getattr(arm.measured, of)
        if not interval.n:
            continue
        mean, low, high = (scale * value for value in (interval.mean, interval.low, interval.high))
        colour = ARM_COLOURS.get(arm.arm, QUIET)
        unit = "%" if of == "share" else " points"
        figure.add_scatter(
            x=[mean],
            y=[html.escape(arm.label, quote=False)],
            error_x={"array": [high - mean], "arrayminus": [mean - low], "color": colour, "thickness": 3, "width": 0},
            marker={"size": 13, "color": colour},
            mode="markers",
            hovertemplate=f"{mean:.0f}{unit}, 95% interval {low:.0f} to {high:.0f}<br>{interval.n} questions"
            "<extra></extra>",
        )
    figure.update_xaxes(range=[-3, 103], tick0=0, dtick=25, ticksuffix="%" if of == "share" else "")
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return as_html(figure, f"arms-{of}", 90 + 44 * max(len(arms), 2))


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
