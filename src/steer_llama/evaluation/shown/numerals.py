"""Numbers as the report writes them: with a real minus sign, and with their interval."""

import math

from steer_llama.records import Interval

NONE = "–"
"""Where nothing was measured."""


def number(value: float | None, digits: int | None = None) -> str:
    """With that many decimals, or whole from 10 on and one decimal below."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:.{digits}f}" if digits is not None else f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"
    if digits is None:
        text = text.removesuffix(".0")
    return (text if float(text) else text.removeprefix("-")).replace("-", "−")


def spread(interval: Interval | None, scale: float = 1.0, digits: int | None = None, unit: str = "") -> str:
    """``62% [35, 81]``: the mean and the 95% interval, in units of 1 / ``scale``."""
    if interval is None or not interval.n or not math.isfinite(interval.mean):
        return NONE
    mean, low, high = (number(scale * value, digits) for value in (interval.mean, interval.low, interval.high))
    return f"{mean}{unit}" if NONE in (low, high) else f"{mean}{unit} [{low}, {high}]"


def between(interval: Interval, scale: float = 1.0, unit: str = "") -> str:
    """``95% interval 35 to 81%``, or that there is none."""
    low, high = number(scale * interval.low), number(scale * interval.high)
    return "no interval" if NONE in (low, high) else f"95% interval {low} to {high}{unit}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """``1 question``, ``8 questions``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
