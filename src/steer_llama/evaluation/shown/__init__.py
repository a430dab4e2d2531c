"""What the report shows, picked from the verdict and the trials; no HTML here."""

from steer_llama.evaluation.shown.answers import (
    Answer,
    Example,
    arm_names,
    closest_condition,
    examples,
    measure_shown,
)
from steer_llama.evaluation.shown.cells import Cell, Panel, panels, stopped
from steer_llama.evaluation.shown.effects import Course, Effects, effects_shown
from steer_llama.evaluation.shown.evidence import evidence_facts, evidence_series
from steer_llama.evaluation.shown.headline import Headline, Meter, headline
from steer_llama.evaluation.shown.methods import Paragraph, methods
from steer_llama.evaluation.shown.numerals import NONE, number, spread
from steer_llama.evaluation.shown.styles import StyleRow, style_rows
from steer_llama.evaluation.shown.tables import (
    Row,
    Table,
    comparisons_table,
    conditions_table,
    features_table,
    outcome,
    quality_table,
    results_table,
    style_table,
)

__all__ = [
    "NONE",
    "Answer",
    "Cell",
    "Course",
    "Effects",
    "Example",
    "Headline",
    "Meter",
    "Panel",
    "Paragraph",
    "Row",
    "StyleRow",
    "Table",
    "arm_names",
    "closest_condition",
    "comparisons_table",
    "conditions_table",
    "effects_shown",
    "evidence_facts",
    "evidence_series",
    "examples",
    "features_table",
    "headline",
    "measure_shown",
    "methods",
    "number",
    "outcome",
    "panels",
    "quality_table",
    "results_table",
    "spread",
    "stopped",
    "style_rows",
    "style_table",
]
