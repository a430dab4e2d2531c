"""Whether a condition's answers are the same text alone, in the grid, and in any order (greedy, float32)."""

import random
from pathlib import Path

import numpy as np
import torch
from generation import ours
from generation.gathering import load_embedded
from generation.work import Work
from turns.environments import THREADS

from steer_llama.config import SweepSettings
from steer_llama.lm.embedded import embedded_folder
from steer_llama.progress import SilentReporter
from sweeping.material import Material, spread


def check(material: Material, n_conditions: int, n_alone: int, tokens: int, scratch: Path) -> str:
    """The bar's line: ``n_conditions`` together, shuffled, and ``n_alone`` of them each by itself."""
    torch.set_num_threads(THREADS)
    conditions = spread(n_conditions)
    np.save(scratch / "vectors.npy", material.vectors_CD(conditions))
    rows = material.asked(load_embedded(), conditions)
    work = Work(
        folder=embedded_folder(SilentReporter()),
        vectors=scratch / "vectors.npy",
        batch_size=SweepSettings().batch_size,
        max_tokens=tokens,
        sets={"grid": tuple(rows)},
    )
    write = ours.load(work, "float32")
    grid = write(rows, tokens)
    order = random.Random(0).sample(range(len(rows)), len(rows))
    shuffled = write([rows[place] for place in order], tokens)
    same_shuffled = sum(grid[place] == answer for place, answer in zip(order, shuffled, strict=True))
    chosen = range(0, len(conditions), max(1, len(conditions) // n_alone))[:n_alone]
    places = [[place for place, row in enumerate(rows) if row.vector == number] for number in chosen]
    alone = [answer for some in places for answer in write([rows[place] for place in some], tokens)]
    beside = [grid[place] for some in places for place in some]
    same_alone = sum(one == other for one, other in zip(alone, beside, strict=True))
    met = "met" if same_alone == len(alone) and same_shuffled == len(rows) else "NOT met"
    return (
        f"bar: the same text as in the grid of {len(conditions)} conditions: {same_alone} of {len(alone)} answers of "
        f"{len(chosen)} conditions alone, {same_shuffled} of {len(rows)} in shuffled order: {met}"
    )
