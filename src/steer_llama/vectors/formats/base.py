"""What a vector's file format is: how its layers map to ours, how it is told from others, read and written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from steer_llama.vectors.vector import SteeringVector


@dataclass(frozen=True)
class Reading:
    """A vector as a file gave it."""

    vector: SteeringVector
    format: str
    """The format's name."""
    notes: tuple[str, ...] = ()
    """What was assumed, and what the file holds that a vector of ours cannot: a sentence each."""


@dataclass(frozen=True)
class VectorFormat:
    """One way to keep a vector in a file.

    Readers take files from anybody: they run nothing that a file holds, and check its sizes before they allocate.
    """

    name: str
    """As flags name it."""
    title: str
    """Whose it is, for people."""
    suffix: str
    """Of its files, with the dot."""
    layer_convention: str
    """What its layer numbers mean in ours."""
    recognises: Callable[[Path], bool]
    """Whether a file is certainly of this format; looks at its beginning, and raises nothing over damaged ones."""
    read: Callable[[Path], Reading]
    """Raises `FileError` or `VectorError`."""
    write: Callable[[Path, SteeringVector], tuple[str, ...]]
    """Writes a file whole or not at all, and says what the format could not hold: a sentence each. Raises
    `VectorError` where nothing would be left, and `StorageError`."""
    may_be: Callable[[Path], str | None] = lambda _: None
    """What a file would be in this format, in words, where its content cannot settle it; ``None`` where it is none.
    Asked only where no format recognises the file. Raises `FileError` over a file of its kind that no format reads."""
