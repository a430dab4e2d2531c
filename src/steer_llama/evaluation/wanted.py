"""Which way a trait is to go."""

from typing import Literal

from steer_llama.records import Interval

Wanted = Literal["more", "less"]


def sign(wanted: Wanted) -> float:
    """+1 where more of the trait is wanted, −1 where less."""
    return 1.0 if wanted == "more" else -1.0


def surely(interval: Interval, wanted: Wanted = "more") -> bool:
    """Whether the whole interval lies on the wanted side of 0; not where it rests on nothing."""
    return min(sign(wanted) * interval.low, sign(wanted) * interval.high) > 0
