"""steer-llama: from texts to the activations file, with the settings that a user gets without choosing any."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from peers.work import Extract, Floats, Found, Work
from steer_llama.activations import PositionChoice, extract_pairs, open_activations
from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.lm.reading import open_reader
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair

Dtype = Literal["float32", "bfloat16"]


def engine(work: Work, dtype: Dtype) -> Callable[[Work, Path], None]:
    """The one place that knows how our engine is called: what it returns reads the pairs into a file."""
    settings = ExtractSettings()
    model = ModelSettings(path=str(work.folder), device="cpu", dtype=dtype)
    reader = open_reader(model, settings, SilentReporter())

    def read(some: Work, path: Path) -> None:
        path.unlink(missing_ok=True)
        pairs = [Pair.model_validate(text) for text in some.texts]
        extract_pairs(reader, pairs, settings, path, SilentReporter())

    return read


def load(work: Work, dtype: Dtype) -> Extract:
    read = engine(work, dtype)

    def extract(some: Work) -> Found:
        path = some.scratch / "ours.h5"
        read(some, path)
        return Found(None, path.stat().st_size, {"response_bytes": response_bytes(path)})

    return extract


def vector(work: Work) -> Floats:
    """The mean difference (L, D) of the file that was written last."""
    with open_activations(work.scratch / "ours.h5", PositionChoice("response", "response")) as file:
        if file.n_pairs != len(work.pairs):
            raise SystemExit(f"ours: {file.n_pairs} of {len(work.pairs)} pairs are in the file")
        chosen_LD, rejected_LD = (
            np.stack([file.means(arm, layer).astype(np.float64).mean(0) for layer in range(work.n_layers)])
            for arm in ("chosen", "rejected")
        )
    difference_LD: Floats = chosen_LD - rejected_LD
    return difference_LD


def response_bytes(path: Path) -> int:
    """What the file would weigh with the means over the response alone."""
    with h5py.File(path, "r") as file:
        others = [positions for name, positions in file["means"].items() if not name.startswith("response")]
        more: int = sum(each.id.get_storage_size() for positions in others for each in positions.values())
    return path.stat().st_size - more
