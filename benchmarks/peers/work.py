"""What every process of the benchmark is given and gives back.

Shapes: T tokens, L layers, D width.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Conversation:
    """Prompt and answer as tokens; the answer's tokens that are averaged are the ones from ``start`` to the end."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Work:
    """The pairs, and the weights to read them with."""

    folder: Path
    """The model, as transformers 5 saves it."""
    scratch: Path
    """Where files may be written."""
    n_layers: int
    width: int
    pairs: tuple[tuple[Conversation, Conversation], ...]
    """Chosen, rejected."""
    texts: tuple[dict[str, Any], ...]
    """The same pairs as records, for those who tokenise themselves."""

    @property
    def n_tokens(self) -> int:
        """Of all the conversations."""
        return sum(len(each.ids) for pair in self.pairs for each in pair)

    @property
    def n_needed(self) -> int:
        """Tokens that have to be computed when what conversations begin with in common is computed once."""
        total, last = 0, tuple[int, ...]()
        # In sorted order, each shares its longest known beginning with the one before.
        for ids in sorted(each.ids for pair in self.pairs for each in pair):
            same = next(
                (i for i, (a, b) in enumerate(zip(last, ids, strict=False)) if a != b), min(len(last), len(ids))
            )
            total, last = total + len(ids) - same, ids
        return total

    def first(self) -> "Work":
        """The first pair alone."""
        return Work(self.folder, self.scratch, self.n_layers, self.width, self.pairs[:1], self.texts[:1])

    def write(self, path: Path) -> None:
        values = asdict(self) | {"folder": str(self.folder), "scratch": str(self.scratch)}
        path.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Work":
        values = json.loads(path.read_text(encoding="utf-8"))
        pairs = tuple(
            (Conversation(tuple(chosen["ids"]), chosen["start"]), Conversation(tuple(other["ids"]), other["start"]))
            for chosen, other in values.pop("pairs")
        )
        folder, scratch = Path(values.pop("folder")), Path(values.pop("scratch"))
        return cls(folder=folder, scratch=scratch, pairs=pairs, texts=tuple(values.pop("texts")), **values)


@dataclass
class Found:
    """What one run gave."""

    vector_LD: Floats | None
    """The mean difference; ``None`` where the way finds something else."""
    file_bytes: int | None = None
    """Of the file that it writes, where it writes one."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the table's notes tell."""


Extract = Callable[[Work], Found]


def averaged(work: Work, mean_of: Callable[[Conversation], npt.NDArray[Any]]) -> Found:
    """The mean difference, one conversation after the other; ``mean_of`` gives (L, D)."""
    total_LD = np.zeros((work.n_layers, work.width))
    for chosen, rejected in work.pairs:
        total_LD += mean_of(chosen).astype(np.float64) - mean_of(rejected).astype(np.float64)
    return Found(total_LD / len(work.pairs))


def signed(work: Work) -> list[tuple[Conversation, float]]:
    """Every conversation with what it counts in the mean difference; chosen and rejected take turns."""
    share = 1 / len(work.pairs)
    return [each for chosen, rejected in work.pairs for each in ((chosen, share), (rejected, -share))]


def batches(items: Sequence[Any], rows: int) -> Iterator[Sequence[Any]]:
    """Pieces of at most ``rows``."""
    for begin in range(0, len(items), rows):
        yield items[begin : begin + rows]
