"""Pictures of the sweep on dev questions. plotly reads its texts as HTML: answers and names are escaped here."""

import html
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from steer_llama.evaluation.figures.canvas import ARM_COLOURS, QUIET, WINNER, as_html, known, layer_colours
from steer_llama.evaluation.shown import Cell, Panel, number, outcome, spread
from steer_llama.records import Verdict

Of = Literal["closed", "trait", "coherence"]
"""What a cell shows: the share of the style gap closed in percent, or a score of 0–100."""

_COLOURS = {"closed": "74,127,214", "trait": "224,112,26", "coherence": "18,147,138"}
_QUOTE = 240
"""Characters of an answer that are shown when a cell is pointed at."""
_STOPPED = 0.4
"""Opacity of the conditions that were stopped early."""
_TITLE, _GAP = 30, 78
"""Pixels above the first panel for its name, and between two for the axis of one and the name of the next."""


def heat_map(panels: Sequence[Panel], of: Of) -> str:
    """Layer × strength with the value in each cell, panel under panel.

    The winner is framed, what is too incoherent is struck through, and what was stopped early is pale.
    """
    row = 44 if max(len(panel.layers) for panel in panels) <= 6 else 33
    heights = [row * max(len(panel.layers), 2) for panel in panels]
    inner = sum(heights) + _GAP * (len(panels) - 1)
    figure = make_subplots(
        rows=len(panels), cols=1, row_heights=heights, vertical_spacing=_GAP / inner if len(panels) > 1 else 0
    )
    for place, panel in enumerate(panels, start=1):
        for stopped in (False, True):
            _cells(figure, place, panel, of, stopped)
        _marks(figure, place, panel)
        if panel.name:
            axis = "" if place == 1 else str(place)
            figure.add_annotation(
                text=f"<b>{html.escape(panel.name, quote=False)}</b>",
                showarrow=False,
                **{"xref": "paper", "yref": f"y{axis} domain", "x": 0, "y": 1, "yshift": 4},
                **{"xanchor": "left", "yanchor": "bottom"},
            )
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_xaxes(title="strength", row=len(panels), col=1)
    figure.update_yaxes(type="category", showgrid=False)
    titled = _TITLE if any(panel.name for panel in panels) else 0
    return as_html(figure, f"heat-{of}", 80 + titled + inner, above=titled)


def _cells(figure: go.Figure, place: int, panel: Panel, of: Of, stopped: bool) -> None:
    at = {(cell.condition.layer, cell.condition.strength): cell for cell in panel.cells}
    grid = [[at.get((layer, strength)) for strength in panel.strengths] for layer in panel.layers]
    mine = [[cell if cell is not None and cell.stopped == stopped else None for cell in row] for row in grid]
    values = [[None if cell is None else _value(cell, of) for cell in row] for row in mine]
    heat = go.Heatmap(
        z=values,
        x=[f"{strength:g}" for strength in panel.strengths],
        y=[f"layer {layer}" for layer in panel.layers],
        text=[["" if value is None else number(value, 0) for value in row] for row in values],
        texttemplate="%{text}",
        textfont={"size": 11 if stopped else 14},
        customdata=[["" if cell is None else _hover(cell) for cell in row] for row in mine],
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        colorscale=[[0, f"rgba({_COLOURS[of]},0.05)"], [1, f"rgba({_COLOURS[of]},0.85)"]],
        zmin=0,
        zmax=100,
        xgap=3,
        ygap=3,
        opacity=_STOPPED if stopped else 1,
        showscale=False,
    )
    figure.add_trace(heat, row=place, col=1)


def _marks(figure: go.Figure, place: int, panel: Panel) -> None:
    for cell in panel.cells:
        x, y = panel.strengths.index(cell.condition.strength), panel.layers.index(cell.condition.layer)
        shape: dict[str, Any] = {"row": place, "col": 1}
        if cell.incoherent:
            ends = {"x0": x - 0.42, "x1": x + 0.42, "y0": y - 0.38, "y1": y + 0.38}
            figure.add_shape(type="line", **ends, line={"color": "#6b7280", "width": 1}, **shape)
        if cell.won:
            box = {"x0": x - 0.47, "x1": x + 0.47, "y0": y - 0.46, "y1": y + 0.46}
            figure.add_shape(type="rect", **box, line={"color": WINNER, "width": 3}, **shape)


def trade_off(verdict: Verdict, panels: Sequence[Panel], of: Of) -> str:
    """Coherence against what is wanted: one point a condition, hollow where it was stopped early.

    In one panel each layer has a colour, else each panel. Where everything is known as well as everything else, a line
    a layer leads from the unsteered point on through the strengths.
    """
    plain = verdict.unsteered
    start = 0.0 if of == "closed" else known(plain.trait.mean)
    figure = go.Figure()
    if len(panels) == 1:
        layers = panels[0].layers
        for layer, colour in zip(layers, layer_colours(len(layers)), strict=True):
            steps = [cell for cell in panels[0].cells if cell.condition.layer == layer]
            whole = not any(cell.stopped for cell in panels[0].cells)
            _points(figure, steps, f"layer {layer}", colour, of, (start, plain.coherence) if whole else None)
    else:
        for panel, colour in zip(panels, layer_colours(len(panels)), strict=True):
            _points(figure, panel.cells, html.escape(panel.name, quote=False), colour, of, None)
    _mark(figure, start, plain.coherence, "unsteered", {"size": 13, "color": ARM_COLOURS["unsteered"]})
    for panel in panels:
        for cell in panel.cells:
            if cell.won:
                ring = {"size": 24, "color": "rgba(0,0,0,0)", "line": {"color": WINNER, "width": 3}}
                _mark(figure, _value(cell, of), cell.condition.measured.coherence, "winner", ring)
    figure.add_hline(y=verdict.min_coherence, line={"color": QUIET, "width": 1.5, "dash": "dash"})
    note = {"xref": "paper", "x": 1, "xanchor": "right", "yanchor": "top", "showarrow": False}
    figure.add_annotation(y=verdict.min_coherence, text="below: cannot win", **note)
    values = [value for panel in panels for cell in panel.cells if (value := _value(cell, of)) is not None]
    first = max(-60.0, min([0.0, *values])) if of == "closed" else 0.0
    last = min(140.0, max([100.0, *values]))
    titles = {"closed": "style gap closed, %", "trait": "mean trait score", "coherence": "coherence"}
    figure.update_xaxes(title=titles[of], range=[first - 5, last + 5])
    figure.update_yaxes(title="coherence", range=[-4, 112])
    # Its legend takes a line for a few entries, on a phone for two.
    entries = len(panels[0].layers) if len(panels) == 1 else 2 * len(panels)
    return as_html(figure, "trade-off", 400 + 10 * entries, legend=True)


def _points(
    figure: go.Figure,
    cells: Sequence[Cell],
    name: str,
    colour: str,
    of: Of,
    start: tuple[float | None, float | None] | None,
) -> None:
    """The conditions, on a line from ``start`` on if there is one."""
    first = [] if start is None else [start]
    points = [*first, *((_value(cell, of), cell.condition.measured.coherence) for cell in cells)]
    hollow = [False] * len(first) + [cell.stopped for cell in cells]
    sizes = [0] * len(first) + [8 if cell.stopped else 10 for cell in cells]
    figure.add_scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        customdata=["unsteered"] * len(first) + [_hover(cell) for cell in cells],
        hovertemplate="%{customdata}<extra></extra>",
        mode="markers" if start is None else "lines+markers",
        name=name,
        line={"color": colour, "width": 1.5},
        opacity=0.85,
        marker={
            "size": sizes,
            "color": colour,
            "symbol": ["circle-open" if each else "circle" for each in hollow],
            "line": {"width": 2, "color": colour},
        },
    )


def _mark(figure: go.Figure, x: float | None, y: float | None, name: str, marker: dict[str, Any]) -> None:
    text = {"text": [name], "textposition": "top center", "mode": "markers+text", "hoverinfo": "skip"}
    figure.add_scatter(x=[x], y=[y], marker=marker, showlegend=False, cliponaxis=False, **text)


def _value(cell: Cell, of: Of) -> float | None:
    condition = cell.condition
    if of == "coherence":
        return condition.measured.coherence
    if of == "trait":
        return known(condition.measured.trait.mean)
    return None if condition.fidelity is None else known(100 * condition.fidelity.closed.mean)


def _hover(cell: Cell) -> str:
    condition, measured = cell.condition, cell.condition.measured
    facts = [f"<b>{html.escape(str(condition.spot), quote=False)}</b>"]
    if said := outcome(cell):
        facts.append(said)
    if condition.fidelity is not None:
        facts.append(f"style gap closed {spread(condition.fidelity.closed, 100, unit='%')}")
    facts.append(f"trait score {spread(measured.trait)}" if measured.trait.n else "trait score unscored")
    if condition.anti_steered is not None and condition.anti_steered.share.n:
        facts.append(f"moved the wrong way {number(100 * condition.anti_steered.share.mean)}%")
    facts.append("coherence unmeasured" if measured.coherence is None else f"coherence {number(measured.coherence, 0)}")
    if measured.judged_coherence is not None:
        facts.append(f"judge's coherence score {number(measured.judged_coherence, 0)}")
    if cell.quote is not None:
        # Cut and wrapped before it is escaped, so that no entity is torn apart.
        lines = textwrap.wrap(textwrap.shorten(cell.quote, _QUOTE, placeholder=" …"), 56) or ["(empty answer)"]
        facts += ["", *(f"<i>{html.escape(line, quote=False)}</i>" for line in lines)]
    return "<br>".join(facts)
