"""What the benchmarks share: ways to do the same work, each in a process of its own, that take turns on the machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["reference", "peer", "ours", "limit"]


@dataclass(frozen=True)
class Way:
    """One way to do the work."""

    name: str
    """On the command line."""
    label: str
    """In the table."""
    module: str
    """Of the benchmark's own package."""
    kind: Kind
    options: Mapping[str, Any] = field(default_factory=dict)
    """For the module's ``load``."""
    packages: tuple[str, ...] = ()
    """Installed in a folder of their own, without dependencies, over our environment (which shares its torch)."""
    asked: str = ""
    """The flag that it needs."""
