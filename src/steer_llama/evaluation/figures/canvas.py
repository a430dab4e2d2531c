"""What all pictures share: colours, layout, and the way into the page.

The page's style sheet colours texts and lines for light and dark, so here backgrounds are transparent and only data
has colours, which are chosen to be legible on both.
"""

import math
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.offline import get_plotlyjs

ARM_COLOURS = {
    "unsteered": "#8a93a3",
    "steered": "#e0701a",
    "random": "#b9a48c",
    "source": "#12938a",
    "prompted": "#8b6fd0",
    "turned": "#5f86b3",
    "examples": "#c46fb0",
}
LAYER_COLOURS = ["#4a7fd6", "#12938a", "#7aa53a", "#e0a11a", "#d6503f", "#a754b5"]
WINNER = "#e2520f"
QUIET = "#8a93a3"
_GRID = "rgba(128,128,128,0.22)"


def plotly_script() -> str:
    """plotly.js itself, to stand in the page once."""
    return str(get_plotlyjs())


def as_html(figure: go.Figure, name: str, height: int, *, legend: bool = False, above: int = 0) -> str:
    """The figure as a piece of HTML.

    Args:
        figure: its texts escaped already.
        name: unique in the page; named here, since plotly would draw a random one and no two reports were the same.
        height: in pixels.
        legend: whether the lines are named above the plot.
        above: pixels that annotations need above the plot.
    """
    # A legend makes room for itself too late for a page that is being printed.
    figure.update_layout(
        height=height,
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 10, "r": 22, "t": 10 + above + 34 * legend, "b": 10},
        font={"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 13, "color": "#7b8494"},
        hoverlabel={"bgcolor": "#1f2430", "bordercolor": "#1f2430", "font": {"color": "#ffffff"}, "align": "left"},
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        dragmode=False,
    )
    axes: dict[str, Any] = {"automargin": True, "zeroline": False, "gridcolor": _GRID, "fixedrange": True}
    axes |= {"ticks": "outside", "ticklen": 6, "tickcolor": "rgba(0,0,0,0)"}
    figure.update_xaxes(title_font_size=13, **axes)
    figure.update_yaxes(title_font_size=13, **axes)
    config = {"displayModeBar": False, "displaylogo": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config, div_id=name))


def layer_colours(count: int) -> list[str]:
    """One colour a layer, in the order of the layers."""
    if count <= len(LAYER_COLOURS):
        return LAYER_COLOURS[:count]
    return list(sample_colorscale(LAYER_COLOURS, [index / (count - 1) for index in range(count)]))


def known(value: float) -> float | None:
    """The value, or ``None`` for the NaN of an unscored interval, which plotly would have to skip."""
    return None if math.isnan(value) else value
