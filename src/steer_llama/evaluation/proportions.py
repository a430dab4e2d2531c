"""Shares of yes and no, and how they change on the same items.

In closed form: a bootstrap of forty answers of which none changed would claim that none can.
"""

import math

from steer_llama.records import Interval

_Z = 1.959964
"""Standard normal quantile for 95%."""


def share_interval(yes: int, n: int) -> Interval:
    """Share of ``yes`` in ``n`` with its 95% interval (Wilson 1927); NaN where ``n`` is 0.

    Raises:
        ValueError: ``yes`` is not between 0 and ``n``.
    """
    if not 0 <= yes <= n:
        raise ValueError(f"{yes} of {n} is no share")
    if n == 0:
        return _nothing()
    share, z2 = yes / n, _Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # The bounds of 0 of n and n of n are exact; rounding must not put the share outside.
    return Interval(mean=share, low=max(0.0, min(share, centre - half)), high=min(1.0, max(share, centre + half)), n=n)


def share_change_interval(gained: int, lost: int, n: int) -> Interval:
    """Change of a share on the same ``n`` items, with its 95% interval; NaN where ``n`` is 0.

    Agresti & Min (2005), Simple improved confidence intervals for comparing matched proportions: Wald's interval after
    half an item is added to each of the four cells.

    Args:
        gained: items that are a yes after and were none before.
        lost: items that were a yes before and are none after.
        n: all items.

    Raises:
        ValueError: more items changed than there are.
    """
    if min(gained, lost) < 0 or gained + lost > n:
        raise ValueError(f"{gained} gained and {lost} lost of {n} items")
    if n == 0:
        return _nothing()
    total, up, down = n + 2, gained + 0.5, lost + 0.5
    centre = (up - down) / total
    half = _Z * math.sqrt(up + down - (up - down) ** 2 / total) / total
    return Interval(mean=(gained - lost) / n, low=max(-1.0, centre - half), high=min(1.0, centre + half), n=n)


def flip_p(gained: int, lost: int) -> float:
    """McNemar's exact test: how likely flips at least as one-sided are if each direction is a coin toss (two-sided)."""
    flips, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(flips, count) for count in range(fewer + 1)) / float(2**flips)
    return min(1.0, 2 * tail)


def _nothing() -> Interval:
    return Interval(mean=math.nan, low=math.nan, high=math.nan, n=0)
