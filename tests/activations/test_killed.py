"""An extraction that is killed at any moment goes on, and its file is the one of a run that nobody killed."""

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import pytest
import torch

from steer_llama.activations import extract_pairs
from steer_llama.config import ExtractSettings, StoreSettings
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import PackedReader
from steer_llama.progress import SilentReporter
from tests.activations import tiny
from tests.activations.killing import forked

PAIRS = 60
KILLS = 8


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def on_disk(path: Path, name: str) -> int:
    """A number of the unfinished file."""
    unfinished = path.with_name(f"{path.name}.partial")
    if not unfinished.exists():
        return 0
    with h5py.File(unfinished, "r") as file:
        return int(file[name][0])


@pytest.mark.parametrize("kind", ["pooled", "tokens", "per_sample"])
def test_killed_at_random_and_run_again(tiny_model: LanguageModel, tmp_path: Path, kind: str) -> None:
    store = StoreSettings(layout="per_sample" if kind == "per_sample" else "pooled")
    settings = ExtractSettings(save_every=3, tokens=kind == "tokens")

    def extract(path: Path, budget: int) -> None:
        # Which budget a run asks for does not matter once another one has written a pair; before that it settles it.
        reader = PackedReader(tiny_model, budget)
        extract_pairs(reader, tiny.pairs(PAIRS), settings, path, SilentReporter(), store=store)

    begin = time.monotonic()
    assert forked(lambda: extract(tmp_path / "whole.h5", 256)) == 0
    seconds = time.monotonic() - begin
    whole, draw, finished = (tmp_path / "whole.h5").read_bytes(), random.Random(kind), 0
    kills: list[int] = []
    while len(kills) < KILLS:
        path = tmp_path / f"{finished}.h5"
        budget = 100 if on_disk(path, "pairs_done") else 256
        status = forked(partial(extract, path, budget), seconds * draw.uniform(0.05, 0.9))
        if status:
            kills.append(on_disk(path, "pairs_done"))
        if path.exists():
            finished += 1
            assert path.read_bytes() == whole
    assert any(done > 0 for done in kills), "no kill came when there was something to lose"
    path = tmp_path / f"{finished}.h5"
    assert forked(lambda: extract(path, 256)) == 0
    assert path.read_bytes() == whole
    assert {found.name for found in tmp_path.iterdir() if found.suffix != ".lock"} == {
        "whole.h5",
        *(f"{n}.h5" for n in range(finished + 1)),
    }
