"""Which pairs go through the model together."""

from collections.abc import Sequence

from steer_llama.lm.packing import common_prefix
from steer_llama.lm.packing.tree import Ids


def fill_batches(groups: Sequence[Sequence[Ids]], root: int, budget: int) -> tuple[tuple[int, ...], ...]:
    """Put groups that begin alike side by side, and as many into a batch as its rows allow.

    A group is never divided: one that exceeds the budget has a batch of its own, which takes several passes.

    Args:
        groups: the conversations of every group.
        root: tokens that all conversations begin with; they take no rows.
        budget: rows of a batch.

    Returns:
        The groups' numbers, batch by batch; the same input gives the same batches.
    """
    order = sorted(range(len(groups)), key=lambda number: groups[number][0].tolist())
    batches: list[tuple[int, ...]] = []
    batch: list[int] = []
    filled = 0
    for number in order:
        rows = _rows(groups[number], root)
        shared = common_prefix(groups[batch[-1]][0], groups[number][0]) - root if batch else 0
        if batch and filled + rows - shared > budget:
            batches.append(tuple(batch))
            batch, filled, shared = [], 0, 0
        batch.append(number)
        filled += rows - shared
    return (*batches, tuple(batch)) if batch else tuple(batches)


def _rows(group: Sequence[Ids], root: int) -> int:
    """Rows that a group needs by itself, at most."""
    rows = 0
    for number, ids in enumerate(group):
        shared = max((common_prefix(ids, other) for other in group[:number]), default=root)
        rows += len(ids) - max(shared, root)
    return rows
