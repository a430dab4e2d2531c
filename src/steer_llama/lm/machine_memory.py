"""How much main memory this process may use: the machine's, or what its container allows."""

from pathlib import Path

import psutil

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_USED = (Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"))


def total_bytes() -> int:
    """In all."""
    total = int(psutil.virtual_memory().total)
    return min(total, _number(_LIMITS) or total)


def available_bytes() -> int:
    """What could be taken now without swapping."""
    available = int(psutil.virtual_memory().available)
    limit, used = _number(_LIMITS), _number(_USED)
    return available if limit is None or used is None else max(0, min(available, limit - used))


def _number(files: tuple[Path, ...]) -> int | None:
    """The first of the files that there is, if a number stands in it (``max`` means no limit)."""
    for file in files:
        try:
            return int(file.read_text())
        except (OSError, ValueError):
            continue
    return None
