"""Changing the residual stream while the model runs, every row of a batch in its own way."""

from steer_llama.lm.steering.hooks import editing, steering
from steer_llama.lm.steering.plan import Places, Plan
from steer_llama.lm.steering.spec import ALL, DIVERGENCE, PROMPT, RESPONSE, Gate, Mode, RowSteering, Span, Steering

__all__ = [
    "ALL",
    "DIVERGENCE",
    "PROMPT",
    "RESPONSE",
    "Gate",
    "Mode",
    "Places",
    "Plan",
    "RowSteering",
    "Span",
    "Steering",
    "editing",
    "steering",
]
