"""Conversations as one row of tokens in which every common beginning stands once.

The conversations of a batch form a tree: each node is a stretch of tokens that several share, each leaf the rest of
one. The tree is laid out depth first. A node is followed by its first branch, so a conversation's last stretch ends a
*run* of rows that attend to each other causally; a later branch begins a new run, which sees its ancestors' rows before
its own.

``[prompt][chosen]`` is one run, ``[rejected]`` another that sees the prompt's rows first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Span = tuple[int, int]
"""Rows from the first to before the last. Rows below zero are those of the root, which was computed earlier."""


@dataclass(frozen=True)
class Run:
    """Rows that follow each other in the layout and in their conversations."""

    rows: Span
    before: tuple[Span, ...]
    """Rows of the tokens that come before them, in order, down to the conversation's first."""
    position: int
    """Of the first row's token in its conversation."""

    @property
    def last_position(self) -> int:
        """How many tokens its last row's conversation has up to there."""
        return self.position + self.rows[1] - self.rows[0]

    def within(self, begin: int, end: int) -> "Run | None":
        """The part of the run that stands in rows ``begin`` to ``end``; what precedes it there becomes its past."""
        first, last = max(self.rows[0], begin), min(self.rows[1], end)
        if first >= last:
            return None
        past = ((self.rows[0], first),) if first > self.rows[0] else ()
        return Run((first, last), self.before + past, self.position + first - self.rows[0])


@dataclass(frozen=True, eq=False)
class Packed:
    """The layout of a batch."""

    ids_R: Ids
    """Tokens row by row."""
    positions_R: Ids
    runs: tuple[Run, ...]
    paths: tuple[tuple[Span, ...], ...]
    """Rows of every conversation, from its first token on (the root's rows are left out)."""


def common_prefix(first: Ids, second: Ids) -> int:
    """How many tokens two conversations begin with in common."""
    length = min(len(first), len(second))
    differ = np.flatnonzero(first[:length] != second[:length])
    return int(differ[0]) if len(differ) else length


def pack(conversations: Sequence[Ids], root: int = 0) -> Packed:
    """Lay conversations out; all of them begin with the same ``root`` tokens, which get no rows.

    A conversation that goes on after another's end shares all of it; equal ones share everything.
    """
    packer = _Packer(conversations, [[] for _ in conversations])
    packer.grow(list(range(len(conversations))), root, ((-root, 0),) if root else (), _Head(0, root))
    return Packed(
        ids_R=np.concatenate(packer.ids) if packer.ids else np.zeros(0, np.int32),
        positions_R=np.concatenate(packer.positions) if packer.positions else np.zeros(0, np.int32),
        runs=tuple(sorted(packer.runs, key=lambda run: run.rows)),
        paths=tuple(tuple(path) for path in packer.paths),
    )


@dataclass(frozen=True)
class _Head:
    """Where the run that is being written began."""

    row: int
    position: int


@dataclass
class _Packer:
    conversations: Sequence[Ids]
    paths: list[list[Span]]
    rows: int = 0
    ids: list[Ids] = field(default_factory=list)
    positions: list[Ids] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def grow(self, members: list[int], depth: int, before: tuple[Span, ...], head: _Head) -> None:
        """Write what ``members`` have in common from token ``depth`` on, then their branches."""
        first = self.conversations[members[0]]
        shared = min(common_prefix(first[depth:], self.conversations[member][depth:]) for member in members)
        self._write(first[depth : depth + shared], depth, members)
        depth += shared
        branches: dict[int, list[int]] = {}
        for member in members:
            if len(self.conversations[member]) > depth:
                branches.setdefault(int(self.conversations[member][depth]), []).append(member)
        fork = self.rows
        past = (*before, (head.row, fork)) if fork > head.row else before
        if not branches and fork > head.row:
            self.runs.append(Run((head.row, fork), before, head.position))
        for number, branch in enumerate(branches.values()):
            if number == 0:
                self.grow(branch, depth, before, head)
            else:
                self.grow(branch, depth, past, _Head(self.rows, depth))

    def _write(self, ids: Ids, depth: int, members: list[int]) -> None:
        if not len(ids):
            return
        self.ids.append(ids)
        self.positions.append(np.arange(depth, depth + len(ids), dtype=np.int32))
        for member in members:
            self.paths[member].append((self.rows, self.rows + len(ids)))
        self.rows += len(ids)
