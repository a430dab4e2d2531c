"""How an activations file is laid out (docs/formats.md): everything but the numbers that the model gives.

All of it is known before the model runs, so the file has its final size and shape from the beginning, and a pair is
written by putting its rows where they belong.

Shapes: N pairs, L layers, D width, P positions, A arms, T tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from steer_llama.activations.sparse import SparseFile
from steer_llama.files import digest_json

FORMAT = "steer-llama activations"
VERSION = 1
ARMS = ("chosen", "rejected")
DONE = "pairs_done"
"""How many pairs are written, from the first on."""
_TOKENS_AS = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(np.uint16)}


@dataclass(frozen=True)
class PairFacts:
    """What is known of a pair before the model has read it."""

    name: str
    divergence_index: int
    response_start: tuple[int, int]
    """Of the chosen and the rejected conversation, in tokens."""
    length: tuple[int, int]
    """Tokens up to the end of the answer."""
    counts_AP: npt.NDArray[np.int64]
    """Tokens under each mask, per arm."""


@dataclass(frozen=True)
class Layout:
    """What a file will hold; two files with the same fingerprint hold the same numbers."""

    model: str
    model_fingerprint: str
    dtype: str
    n_layers: int
    width: int
    positions: tuple[str, ...]
    tokens: bool
    pairs: tuple[PairFacts, ...]
    texts_fingerprint: str
    """Of the pairs' tokens."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all of it."""
        return digest_json(
            {
                "version": VERSION,
                "model": self.model_fingerprint,
                "dtype": self.dtype,
                "shape": [self.n_layers, self.width],
                "positions": self.positions,
                "tokens": self.tokens,
                "texts": self.texts_fingerprint,
                "pairs": [[pair.name, pair.divergence_index, pair.counts_AP.tolist()] for pair in self.pairs],
            }
        )

    @property
    def tokens_dtype(self) -> np.dtype[Any]:
        """How single tokens are stored: HDF5 has no bfloat16, so its bits are kept as uint16."""
        return _TOKENS_AS.get(self.dtype, np.dtype(np.float32))

    @property
    def offsets_AN(self) -> npt.NDArray[np.int64]:
        """Where each pair's tokens begin in ``/tokens``, and where the last one's end (A, N + 1)."""
        counts_AN = np.array([pair.counts_AP[:, 0] for pair in self.pairs]).T
        return np.concatenate([np.zeros((len(ARMS), 1), np.int64), counts_AN.cumsum(axis=1)], axis=1)

    def filled(self) -> Iterator[tuple[str, tuple[int, ...], np.dtype[Any]]]:
        """Name, shape and type of every dataset that the model's numbers go into."""
        n_pairs, float32 = len(self.pairs), np.dtype(np.float32)
        for a, arm in enumerate(ARMS):
            for positions in self.positions:
                yield f"means/{positions}/{arm}", (n_pairs, self.n_layers, self.width), float32
            yield f"residual_norm/{arm}", (n_pairs, self.n_layers), float32
            if self.tokens:
                shape = (int(self.offsets_AN[a, -1]), self.n_layers, self.width)
                yield f"tokens/{arm}/values", shape, self.tokens_dtype
        yield DONE, (1,), np.dtype(np.int64)


def lay_out(layout: Layout) -> SparseFile:
    """The file with every fact in its place and zeros where the model's numbers will stand."""
    draft = SparseFile()
    with h5py.File(draft, "w") as file:
        file.attrs.update(
            {
                "format": FORMAT,
                "version": VERSION,
                "fingerprint": layout.fingerprint,
                "model": layout.model,
                "model_fingerprint": layout.model_fingerprint,
                "dtype": layout.dtype,
                "layer_convention": "blocks.L.hook_resid_post (0-based block L, at its output)",
            }
        )
        file["layers"] = np.arange(layout.n_layers, dtype=np.int64)
        _add_facts(file, layout)
        for name, shape, dtype in layout.filled():
            # Contiguous and placed at once, so that rows can be written in place without HDF5.
            place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            place.set_layout(h5py.h5d.CONTIGUOUS)
            place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            place.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            file.create_dataset(name, shape, dtype, dcpl=place)
        for arm in ARMS if layout.tokens else ():
            file[f"tokens/{arm}/values"].attrs["dtype"] = layout.dtype
    return draft


def _add_facts(file: Any, layout: Layout) -> None:
    pairs = file.create_group("pairs")
    names = [pair.name.replace("\0", "\ufffd") for pair in layout.pairs]  # HDF5 strings end at a NUL
    pairs.create_dataset("name", data=names, dtype=h5py.string_dtype())
    pairs["divergence_index"] = np.array([pair.divergence_index for pair in layout.pairs], np.int32)
    for a, arm in enumerate(ARMS):
        pairs[f"{arm}_response_start"] = np.array([pair.response_start[a] for pair in layout.pairs], np.int32)
        pairs[f"{arm}_length"] = np.array([pair.length[a] for pair in layout.pairs], np.int32)
        for p, positions in enumerate(layout.positions):
            file[f"means/{positions}/{arm}_tokens"] = np.array(
                [pair.counts_AP[a, p] for pair in layout.pairs], np.int32
            )
        if layout.tokens:
            file[f"tokens/{arm}/offsets"] = layout.offsets_AN[a]
