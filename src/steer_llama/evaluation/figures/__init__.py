"""The report's pictures, each as a piece of HTML; the only place that imports plotly."""

from steer_llama.evaluation.figures.canvas import ARM_COLOURS, plotly_script
from steer_llama.evaluation.figures.lines import arms_plot, layer_plot
from steer_llama.evaluation.figures.sweep import heat_map, trade_off

__all__ = ["ARM_COLOURS", "arms_plot", "heat_map", "layer_plot", "plotly_script", "trade_off"]
