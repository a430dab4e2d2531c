"""How a conversation is steered, in a user's terms: vectors by name, strengths, and where and how they act."""

from typing import Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from steer_llama.records.base import Record

SteerMode = Literal["add", "keep_norm", "project_out", "clamp"]
SteerWhere = Literal["all", "prompt", "response", "divergence"]


class GateOn(Record):
    """Steers a token only where its projection onto another vector passes a threshold."""

    name: str
    """Of the vector that is the condition."""
    layer: int | None = Field(None, ge=0)
    """Whose output is projected; default: the steered layer."""
    threshold: FiniteFloat
    """Of the projection, over the mean residual norm at that layer."""
    above: bool = True
    """Whether the projection has to be at least the threshold, or below it."""


class Steer(Record):
    """One vector's part in steering; its text is ``NAME@LAYERS:STRENGTH`` and options (`stages.steer_text`)."""

    name: str
    """Of the vector."""
    layers: tuple[int, ...] = ()
    """0-based blocks, each of which is steered with the whole strength; none: the vector's recommendation."""
    strength: FiniteFloat | None = None
    """‖coefficient·v‖ over the mean residual norm at the layer; ``None``: the vector's recommendation."""
    coefficient: FiniteFloat | None = None
    """Instead of a strength: what the direction is multiplied by."""
    mode: SteerMode = "add"
    where: SteerWhere = "all"
    """``divergence``: from the prompt's last token on, which gives the answer's first one."""
    low: FiniteFloat | None = None
    """``clamp``: the least projection onto the vector, over the mean residual norm."""
    high: FiniteFloat | None = None
    """``clamp``: the largest."""
    half_life: float | None = Field(None, gt=0)
    """Tokens of the answer after which the effect is halved."""
    gate: GateOn | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.strength is not None and self.coefficient is not None:
            raise ValueError("a strength and a coefficient say the same thing in two ways; give one of them")
        sized = self.strength is not None or self.coefficient is not None
        if self.mode in ("project_out", "clamp") and sized:
            raise ValueError(f"the mode {self.mode} takes no strength: it goes by the projection onto the vector")
        if self.mode == "clamp" and self.low is None and self.high is None:
            raise ValueError("the mode clamp needs 'low', 'high' or both (over the mean residual norm)")
        if self.mode != "clamp" and (self.low is not None or self.high is not None):
            raise ValueError(f"'low' and 'high' belong to the mode clamp, but the mode is {self.mode}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"'low' {self.low:g} is above 'high' {self.high:g}")
        return self

    def __str__(self) -> str:
        """As `stages.steer_text` reads it."""
        text = self.name + (f"@{','.join(map(str, self.layers))}" if self.layers else "")
        options = {
            "coefficient": self.coefficient,
            "mode": None if self.mode == "add" else self.mode,
            "where": None if self.where == "all" else self.where,
            "low": self.low,
            "high": self.high,
            "half_life": self.half_life,
        }
        parts = [] if self.strength is None else [f"{self.strength:g}"]
        parts += [
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in options.items()
            if value is not None
        ]
        if self.gate is not None:
            at = "" if self.gate.layer is None else f"@{self.gate.layer}"
            parts.append(f"gate={self.gate.name}{at}{'>=' if self.gate.above else '<'}{self.gate.threshold:g}")
        return ":".join([text, *parts])
