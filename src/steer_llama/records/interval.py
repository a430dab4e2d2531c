"""An estimate and how sure it is."""

import math
from typing import Any

from pydantic import ConfigDict, field_validator

from steer_llama.records.base import Record


class Interval(Record):
    """An estimate with its 95% bootstrap interval; NaN where it rests on nothing (``null`` in JSON, ``n`` is 0)."""

    model_config = ConfigDict(ser_json_inf_nan="null")

    mean: float
    low: float
    high: float
    n: int
    """Questions that it rests on (they are what is resampled, since one question's answers hang together)."""

    @field_validator("mean", "low", "high", mode="before")
    @classmethod
    def _unknown(cls, value: Any) -> Any:
        return math.nan if value is None else value
