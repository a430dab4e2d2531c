"""Pictures of the sweep on dev questions. plotly reads its texts as HTML: answers are escaped here."""

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from steer_llama.evaluation.figures.canvas import ARM_COLOURS, QUIET, WINNER, as_html, known, layer_colours
from steer_llama.records import Condition, Verdict

_QUOTE = 240
"""Characters of an answer that are shown when a cell is pointed at."""


def heat_map(
    conditions: Sequence[Condition],
    winner: Condition | None,
    of: Literal["trait", "coherence"],
    quotes: Mapping[tuple[int, float], str],
) -> str:
    """Layer × strength with the value in each cell; the winner is framed and what cannot win is struck through."""
    layers = sorted({condition.layer for condition in conditions})
    strengths = sorted({condition.strength for condition in conditions})
    at = {(condition.layer, condition.strength): condition for condition in conditions}
    cells = [[at.get((layer, strength)) for strength in strengths] for layer in layers]
    values = [[_value(cell, of) for cell in row] for row in cells]
    colour = "224,112,26" if of == "trait" else "18,147,138"
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[f"{strength:g}" for strength in strengths],
            y=[f"layer {layer}" for layer in layers],
            text=[["" if value is None else f"{value:.0f}" for value in row] for row in values],
            texttemplate="%{text}",
            textfont={"size": 14},
            customdata=[[_cell_hover(cell, quotes) for cell in row] for row in cells],
            hovertemplate="%{customdata}<extra></extra>",
            colorscale=[[0, f"rgba({colour},0.05)"], [1, f"rgba({colour},0.85)"]],
            zmin=0,
            zmax=100,
            xgap=3,
            ygap=3,
            showscale=False,
        )
    )
    for condition in conditions:
        x, y = strengths.index(condition.strength), layers.index(condition.layer)
        if not condition.eligible:
            figure.add_shape(
                type="line", x0=x - 0.42, y0=y - 0.38, x1=x + 0.42, y1=y + 0.38, line={"color": "#6b7280", "width": 1.5}
            )
        if winner and (condition.layer, condition.strength) == (winner.layer, winner.strength):
            box = {"x0": x - 0.47, "x1": x + 0.47, "y0": y - 0.46, "y1": y + 0.46}
            figure.add_shape(type="rect", **box, line={"color": WINNER, "width": 3})
    figure.update_xaxes(type="category", title="strength", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False)
    return as_html(figure, f"heat-{of}", 120 + 46 * max(len(layers), 3))


def trade_off(verdict: Verdict) -> str:
    """Coherence against trait score: one line a layer, each from the unsteered point on through the strengths."""
    plain = verdict.unsteered
    figure = go.Figure()
    layers = sorted({condition.layer for condition in verdict.conditions})
    for layer, colour in zip(layers, layer_colours(len(layers)), strict=True):
        steps = sorted((c for c in verdict.conditions if c.layer == layer), key=lambda c: c.strength)
        said = ["unsteered", *(f"layer {layer}, strength {step.strength:g}" for step in steps)]
        figure.add_scatter(
            x=[known(plain.trait.mean), *(_value(step, "trait") for step in steps)],
            y=[plain.coherence, *(step.measured.coherence for step in steps)],
            text=said,
            hovertemplate="%{text}<br>trait score %{x:.0f}, coherence %{y:.0f}<extra></extra>",
            mode="lines+markers",
            name=f"layer {layer}",
            line={"color": colour, "width": 2},
            marker={"size": [0, *(6 + 2 * number for number in range(len(steps)))]},
        )
    _mark(figure, plain.trait.mean, plain.coherence, "unsteered", {"size": 13, "color": ARM_COLOURS["unsteered"]})
    if verdict.winner:
        ring = {"size": 24, "color": "rgba(0,0,0,0)", "line": {"color": WINNER, "width": 3}}
        won = verdict.winner.measured
        _mark(figure, won.trait.mean, won.coherence, "winner", ring)
    figure.add_hline(y=verdict.min_coherence, line={"color": QUIET, "width": 1.5, "dash": "dash"})
    figure.add_annotation(
        xref="paper",
        x=1,
        y=verdict.min_coherence,
        text="below: cannot win",
        showarrow=False,
        xanchor="right",
        yanchor="top",
    )
    figure.update_xaxes(title="mean trait score", range=[-4, 104])
    figure.update_yaxes(title="coherence", range=[-4, 112])
    return as_html(figure, "trade-off", 430, legend=True)


def _mark(figure: go.Figure, x: float, y: float | None, name: str, marker: dict[str, Any]) -> None:
    text = {"text": [name], "textposition": "top center", "mode": "markers+text", "hoverinfo": "skip"}
    figure.add_scatter(x=[known(x)], y=[y], marker=marker, showlegend=False, cliponaxis=False, **text)


def _value(condition: Condition | None, of: Literal["trait", "coherence"]) -> float | None:
    if condition is None:
        return None
    return known(condition.measured.trait.mean) if of == "trait" else condition.measured.coherence


def _cell_hover(condition: Condition | None, quotes: Mapping[tuple[int, float], str]) -> str:
    if condition is None:
        return ""
    trait, coherence = _value(condition, "trait"), condition.measured.coherence
    facts = [
        f"<b>layer {condition.layer}, strength {condition.strength:g}</b>",
        "trait score unscored" if trait is None else f"trait score {trait:.0f}",
        "coherence unmeasured" if coherence is None else f"coherence {coherence:.0f}",
    ]
    quote = quotes.get((condition.layer, condition.strength))
    if quote is not None:
        # Cut and wrapped before it is escaped, so that no entity is torn apart.
        lines = textwrap.wrap(textwrap.shorten(quote, _QUOTE, placeholder=" …"), 56) or ["(empty answer)"]
        facts += ["", *(f"<i>{html.escape(line, quote=False)}</i>" for line in lines)]
    return "<br>".join(facts)
