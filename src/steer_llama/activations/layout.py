"""How an activations file is laid out (docs/formats.md): everything but the numbers that the model gives.

All of it is known before the model runs, so the file has its final size and shape from the beginning, and a pair is
written by putting its rows where they belong.

Shapes: N pairs, L layers, D width, P positions, A arms, T tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from steer_llama.activations.chunks import Chunks
from steer_llama.activations.sparse import SparseFile
from steer_llama.files import digest_json

FORMAT = "steer-llama activations"
VERSION = 3
READABLE = (2, VERSION)
"""Version 2 lacks `answers`."""
ARMS = ("chosen", "rejected")
DONE = "pairs_done"
"""How many pairs are written, in the order in which they are read."""
BUDGET = "token_budget"
"""The most tokens of a forward pass: it settles which pairs are read together, and so the last bits of every number."""
ORDER = "reading_order"
"""A number that tells one order of reading, and one division into batches, from another."""
HDF5_VERSION = ("v110", "v110")
"""Of what is written: the first that has `Chunks`; every HDF5 since 2016 reads it."""
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
    ids_AT: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]
    """The answers' tokens, from the first to the last one."""
    masks_AT: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
    """Which masks each of them is under: bit p for the p-th positions."""


@dataclass(frozen=True)
class Layout:
    """What a file will hold. Two files of one fingerprint hold the same numbers, up to last bits (see `BUDGET`)."""

    model: str
    model_fingerprint: str
    dtype: str
    layers: tuple[int, ...]
    width: int
    positions: tuple[str, ...]
    tokens: bool
    pairs: tuple[PairFacts, ...]
    texts_fingerprint: str
    """Of the pairs' tokens."""
    backend: str = "transformers"
    """What ran the weights."""
    model_type: str = ""
    revision: str = ""
    per_sample: bool = False
    """On the way to the seed's file: the tokens begin at the answer and not at the divergence."""

    @property
    def facts(self) -> dict[str, str]:
        """What the numbers depend on, in words; kept as the file's attributes, to say how another file differs."""
        return {
            "version": str(VERSION),
            "layout": "per_sample" if self.per_sample else "pooled",
            "model": self.model,
            "model_fingerprint": self.model_fingerprint,
            "dtype": self.dtype,
            "backend": self.backend,
            "layers": _in_words(self.layers),
            "width": str(self.width),
            "positions": ",".join(self.positions),
            "tokens": "kept" if self.tokens else "not kept",
            "pairs": str(len(self.pairs)),
            "texts_fingerprint": self.texts_fingerprint,
        }

    @property
    def attributes(self) -> dict[str, Any]:
        """What stands at the root of the file."""
        return {
            **self.facts,
            "format": FORMAT,
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "model_type": self.model_type,
            "revision": self.revision,
            "layer_convention": "blocks.L.hook_resid_post (0-based block L, at its output)",
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all of it."""
        return digest_json(
            {
                **{name: value for name, value in self.facts.items() if name != "model"},
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

    @property
    def chunked(self) -> dict[str, Chunks]:
        """The datasets of single tokens, and how each is divided."""
        row_bytes = self.width * self.tokens_dtype.itemsize
        return {
            f"tokens/{arm}/values": Chunks(int(total), len(self.layers), row_bytes)
            for arm, total in zip(ARMS if self.tokens else (), self.offsets_AN[:, -1], strict=False)
        }

    @property
    def groups(self) -> tuple[str, ...]:
        """Every group, outer ones first.

        HDF5 writes the time into those that it makes by itself on the way, so no two files would be the same.
        """
        tokens = ("tokens", *(f"tokens/{arm}" for arm in ARMS)) if self.tokens else ()
        answers = ("answers", *(f"answers/{arm}" for arm in ARMS))
        return ("pairs", *answers, "means", *(f"means/{name}" for name in self.positions), "residual_norm", *tokens)

    def filled(self) -> Iterator[tuple[str, tuple[int, ...], np.dtype[Any]]]:
        """Name, shape and type of every dataset that the model's numbers go into."""
        n_pairs, n_layers, float32 = len(self.pairs), len(self.layers), np.dtype(np.float32)
        for a, arm in enumerate(ARMS):
            for positions in self.positions:
                yield f"means/{positions}/{arm}", (n_pairs, n_layers, self.width), float32
            yield f"residual_norm/{arm}", (n_pairs, n_layers), float32
            if self.tokens:
                shape = (int(self.offsets_AN[a, -1]), n_layers, self.width)
                yield f"tokens/{arm}/values", shape, self.tokens_dtype
        yield BUDGET, (1,), np.dtype(np.int64)
        yield ORDER, (1,), np.dtype(np.int64)
        yield DONE, (1,), np.dtype(np.int64)


def lay_out(layout: Layout) -> SparseFile:
    """The file with every fact in its place and zeros where the model's numbers will stand."""
    draft = SparseFile()
    with h5py.File(draft, "w", libver=HDF5_VERSION) as file:
        file.attrs.update(layout.attributes)
        for group in layout.groups:
            file.create_group(group)
        file["layers"] = np.array(layout.layers, dtype=np.int64)
        _add_facts(file, layout)
        chunks = layout.chunked
        for name, shape, dtype in layout.filled():
            # Placed at once, contiguous or chunk by chunk, so that rows can be written in place without HDF5.
            place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            if name in chunks:
                place.set_chunk((chunks[name].length, 1, layout.width))
            else:
                place.set_layout(h5py.h5d.CONTIGUOUS)
            place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            place.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            file.create_dataset(name, shape, dtype, dcpl=place)
        for arm in ARMS if layout.tokens else ():
            file[f"tokens/{arm}/values"].attrs["dtype"] = layout.dtype
    return draft


def _add_facts(file: Any, layout: Layout) -> None:
    pairs = file["pairs"]
    names = [pair.name.replace("\0", "\ufffd") for pair in layout.pairs]  # HDF5 strings end at a NUL
    pairs.create_dataset("name", data=names, dtype=h5py.string_dtype())
    pairs["divergence_index"] = np.array([pair.divergence_index for pair in layout.pairs], np.int32)
    for a, arm in enumerate(ARMS):
        pairs[f"{arm}_response_start"] = np.array([pair.response_start[a] for pair in layout.pairs], np.int32)
        pairs[f"{arm}_length"] = np.array([pair.length[a] for pair in layout.pairs], np.int32)
        answers = file[f"answers/{arm}"]
        answers["ids"] = np.concatenate([pair.ids_AT[a] for pair in layout.pairs])
        answers["masks"] = np.concatenate([pair.masks_AT[a] for pair in layout.pairs])
        answers["masks"].attrs["bits"] = list(layout.positions)
        answers["offsets"] = np.cumsum([0, *(len(pair.ids_AT[a]) for pair in layout.pairs)])
        for p, positions in enumerate(layout.positions):
            file[f"means/{positions}/{arm}_tokens"] = np.array(
                [pair.counts_AP[a, p] for pair in layout.pairs], np.int32
            )
        if layout.tokens:
            file[f"tokens/{arm}/offsets"] = layout.offsets_AN[a]


def _in_words(layers: Sequence[int]) -> str:
    """``0-2,5`` for 0, 1, 2, 5."""
    begins = [layers[0], *(b for a, b in pairwise(layers) if b != a + 1)]
    ends = [*(a for a, b in pairwise(layers) if b != a + 1), layers[-1]]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(begins, ends, strict=True))
