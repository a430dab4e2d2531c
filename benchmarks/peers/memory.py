"""Resident memory of this process, from Linux' own books; ``None`` elsewhere."""

import re
from pathlib import Path

_BOOKS = Path("/proc/self")


def resident_mb() -> float | None:
    """Now."""
    return _field("VmRSS")


def peak_mb() -> float | None:
    """The most since the start, or since `forget_peak`."""
    return _field("VmHWM")


def forget_peak() -> bool:
    """Count the peak from now on; whether the system lets us."""
    try:
        (_BOOKS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _field(name: str) -> float | None:
    try:
        status = (_BOOKS / "status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else None
