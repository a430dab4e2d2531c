"""What every process of the generation benchmarks is given and gives back.

Shapes: V vectors, D width.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """One answer to write: a prompt, and what is added at the output of block ``layer`` at every token."""

    ids: tuple[int, ...]
    layer: int | None = None
    vector: int | None = None
    """Which row of the work's vectors."""

    @property
    def condition(self) -> tuple[int | None, int | None]:
        return self.layer, self.vector


@dataclass(frozen=True)
class Answer:
    """One answer: its text, and its tokens without the one that ended it."""

    text: str
    tokens: int


@dataclass(frozen=True)
class Work:
    """What is to be written, with what."""

    folder: Path
    """The model, as transformers 5 saves it; its stop token is the one that the answers end with."""
    vectors: Path
    """A ``.npy`` file (V, D), already multiplied by their coefficients."""
    batch_size: int
    max_tokens: int
    """Of an answer."""
    sets: dict[str, tuple[Asked, ...]]
    """What a way is asked to write at once, by name."""

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with its answer."""
        return self.max_tokens + max(len(row.ids) for rows in self.sets.values() for row in rows)

    def vectors_VD(self) -> Floats:
        vectors: Floats = np.load(self.vectors)
        return vectors

    def write(self, path: Path) -> None:
        values = asdict(self) | {"folder": str(self.folder), "vectors": str(self.vectors)}
        path.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Work":
        values = json.loads(path.read_text(encoding="utf-8"))
        sets = {
            name: tuple(Asked(tuple(row["ids"]), row["layer"], row["vector"]) for row in rows)
            for name, rows in values.pop("sets").items()
        }
        return cls(folder=Path(values.pop("folder")), vectors=Path(values.pop("vectors")), sets=sets, **values)


Write = Callable[[Sequence[Asked], int], list[Answer]]
"""Writes an answer for every row, of at most so many tokens."""


def conditions(rows: Sequence[Asked], batch_size: int) -> Iterator[list[int]]:
    """Places of rows that are steered alike, at most ``batch_size`` at once: what a library with one vector can do."""
    alike: dict[tuple[int | None, int | None], list[int]] = {}
    for place, row in enumerate(rows):
        alike.setdefault(row.condition, []).append(place)
    for places in alike.values():
        yield from batches(places, batch_size)


def batches(places: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Pieces of at most ``batch_size``."""
    for begin in range(0, len(places), batch_size):
        yield list(places[begin : begin + batch_size])
