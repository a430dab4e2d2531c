"""The report's pictures, each as a piece of HTML; the only place that imports plotly."""

from steer_llama.evaluation.figures.canvas import ARM_COLOURS, plotly_script
from steer_llama.evaluation.figures.dots import Dot, Mark, dot_plot, style_plot
from steer_llama.evaluation.figures.lines import layer_plot, turns_plot
from steer_llama.evaluation.figures.sweep import heat_map, trade_off

__all__ = [
    "ARM_COLOURS",
    "Dot",
    "Mark",
    "dot_plot",
    "heat_map",
    "layer_plot",
    "plotly_script",
    "style_plot",
    "trade_off",
    "turns_plot",
]
