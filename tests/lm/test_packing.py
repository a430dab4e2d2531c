"""The layout of a batch: every token once, every row seeing its own past and nothing else."""

import numpy as np
import pytest

from steer_llama.lm.packing import Packed, common_prefix, pack
from steer_llama.lm.packing.tree import Ids, Run
from steer_llama.lm.reading.ordering import fill_batches


def ids(*tokens: int) -> Ids:
    return np.array(tokens, np.int32)


def past_of(packed: Packed, row: int, root: Ids) -> list[int]:
    """The tokens that a row attends to, read off the runs."""
    [run] = [run for run in packed.runs if run.rows[0] <= row < run.rows[1]]
    seen: list[int] = []
    for begin, end in (*run.before, (run.rows[0], row + 1)):
        seen += [int(packed.ids_R[r]) if r >= 0 else int(root[len(root) + r]) for r in range(begin, end)]
    return seen


def check(conversations: list[Ids], root: int = 0) -> Packed:
    packed = pack(conversations, root)
    first = conversations[0][:root]
    for conversation, path in zip(conversations, packed.paths, strict=True):
        rows = [row for span in path for row in range(*span)]
        assert len(rows) == len(conversation) - root
        assert rows == sorted(rows)
        for place, row in enumerate(rows, root):
            assert past_of(packed, row, first) == conversation[: place + 1].tolist()
            assert packed.positions_R[row] == place
    assert len(packed.ids_R) == len({tuple(c[: n + 1]) for c in conversations for n in range(root, len(c))})
    covered = [row for run in packed.runs for row in range(*run.rows)]
    assert covered == list(range(len(packed.ids_R)))
    return packed


def test_a_pair_is_two_runs_with_one_prompt() -> None:
    packed = check([ids(1, 2, 3, 4, 5), ids(1, 2, 3, 6)])
    assert packed.ids_R.tolist() == [1, 2, 3, 4, 5, 6]
    assert packed.runs == (Run((0, 5), (), 0), Run((5, 6), ((0, 3),), 3))


def test_two_pairs_share_what_their_prompts_share() -> None:
    packed = check([ids(1, 2, 3, 4), ids(1, 2, 3, 5), ids(1, 2, 7, 8), ids(1, 2, 7, 9, 9)])
    assert len(packed.runs) == 4
    assert len(packed.ids_R) == 2 + 2 + 1 + 2 + 2


@pytest.mark.parametrize("root", [0, 1])
def test_odd_conversations(root: int) -> None:
    check([ids(1, 2)], root)
    check([ids(1, 2), ids(1, 2)], root)  # equal
    check([ids(1, 2, 3), ids(1, 2)], root)  # one is the other's beginning
    check([ids(1, 2), ids(1, 2, 3), ids(1, 2, 4)], root)
    if root == 0:
        check([ids(1, 2), ids(3, 4), ids(5)], root)  # nothing in common


@pytest.mark.parametrize("seed", range(30))
def test_made_up_trees(seed: int) -> None:
    random = np.random.default_rng(seed)
    # Three letters only, so that they share beginnings of every length.
    conversations = [
        np.concatenate([ids(0, 0), random.integers(0, 3, random.integers(1, 9))]).astype(np.int32) for _ in range(12)
    ]
    check(conversations, 0)
    check(conversations, 2)


def test_a_run_cut_at_a_pass_sees_its_own_rows_before_the_cut() -> None:
    run = Run((4, 10), ((0, 2),), 2)
    assert run.within(0, 4) is None
    assert run.within(4, 7) == Run((4, 7), ((0, 2),), 2)
    assert run.within(7, 20) == Run((7, 10), ((0, 2), (4, 7)), 5)


def test_common_prefix() -> None:
    assert common_prefix(ids(1, 2, 3), ids(1, 2, 4)) == 2
    assert common_prefix(ids(1, 2), ids(1, 2, 4)) == 2
    assert common_prefix(ids(), ids(1)) == 0


def test_batches_are_full_and_hold_every_group_once() -> None:
    random = np.random.default_rng(0)
    groups = []
    for _ in range(50):
        prompt = random.integers(0, 9, random.integers(3, 20))
        groups.append([np.concatenate([prompt, random.integers(0, 9, 30)]).astype(np.int32) for _ in range(2)])
    batches = fill_batches(groups, 0, 300)
    assert sorted(number for batch in batches for number in batch) == list(range(50))
    rows = [len(pack([c for number in batch for c in groups[number]]).ids_R) for batch in batches]
    assert max(rows) <= 300
    assert np.mean(rows[:-1]) > 240
    assert batches == fill_batches(groups, 0, 300)


def test_groups_that_begin_alike_stand_together_and_a_long_one_stands_alone() -> None:
    groups = [
        [ids(5, *[1] * 30), ids(5, *[2] * 30)],
        [ids(*[9] * 500)],
        [ids(7, *[1] * 20)],
        [ids(5, *[1] * 30, 3)],
    ]
    batches = fill_batches(groups, 0, 100)
    assert next(batch for batch in batches if 0 in batch)[:2] == (0, 3)
    assert (1,) in batches
