"""The activations file: an HDF5 of means per pair, layer and positions (docs/formats.md).

It grows as ``<name>.partial``, is flushed every few pairs, and takes its name when it is whole.

Shapes: N pairs, L layers, D width, P positions, T tokens.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch

from steer_llama.errors import ConflictError, StorageError
from steer_llama.files import storage_errors
from steer_llama.lm.capture import Pooled
from steer_llama.rundir import free_bytes

FORMAT = "steer-llama activations"
VERSION = 1
ARMS = ("chosen", "rejected")
_STORED_AS = {"torch.float32": np.float32, "torch.float16": np.float16, "torch.bfloat16": np.uint16}


@dataclass(frozen=True)
class Layout:
    """What a file will hold; two files with the same layout hold the same numbers."""

    model: str
    model_fingerprint: str
    dtype: str
    n_layers: int
    width: int
    positions: tuple[str, ...]
    tokens: bool
    names: tuple[str, ...]
    """The pairs, by name, in order."""
    fingerprint: str
    """Of the pairs' texts and all of the above."""


@dataclass(frozen=True)
class PairActivations:
    """One pair, read."""

    divergence_index: int
    response_start: tuple[int, int]
    """Of the chosen and the rejected conversation, in tokens."""
    length: tuple[int, int]
    """Tokens up to the end of the answer."""
    counts_AP: npt.NDArray[np.int64]
    """Tokens under each mask, per arm."""
    pooled: tuple[Pooled, Pooled]


class ActivationWriter:
    """Appends pairs; what is on disk is whole up to the last `flush`, and a later run goes on from there."""

    def __init__(self, path: Path, layout: Layout, save_every: int) -> None:
        """Open or create ``<path>.partial``.

        Raises:
            StorageError: no place for the file, or it cannot be written.
        """
        self.path = path
        self.layout = layout
        self._partial = path.with_name(path.name + ".partial")
        self._save_every = save_every
        self._waiting: list[PairActivations] = []
        self.resumed_note = ""
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._reopen() or self._create()
        self.done = int(self._file.attrs["pairs_done"])

    def _reopen(self) -> Any:
        if not self._partial.exists():
            return None
        try:
            file = h5py.File(self._partial, "r+")
            same = file.attrs.get("fingerprint") == self.layout.fingerprint
            done = int(file.attrs["pairs_done"])
        except (OSError, KeyError, ValueError):
            self.resumed_note = "the unfinished file of an earlier run is damaged; starting anew"
            return None
        if not same:
            file.close()
            self.resumed_note = "the unfinished file of an earlier run was of other pairs or settings; starting anew"
            return None
        self.resumed_note = f"going on after {done} pairs of an earlier run"
        return file

    def _create(self) -> Any:
        layout = self.layout
        n_pairs, shape = len(layout.names), (layout.n_layers, layout.width)
        needed = n_pairs * int(np.prod(shape)) * 4 * 2 * len(layout.positions)
        if needed > (free := free_bytes(self._partial)):
            raise StorageError(
                f"{self.path}: needs {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free there. "
                "Free some space, name another place with -o, or ask for fewer --positions."
            )
        file = h5py.File(self._partial, "w")
        file.attrs.update(
            {
                "format": FORMAT,
                "version": VERSION,
                "fingerprint": layout.fingerprint,
                "model": layout.model,
                "model_fingerprint": layout.model_fingerprint,
                "dtype": layout.dtype,
                "layer_convention": "blocks.L.hook_resid_post (0-based block L, at its output)",
                "complete": False,
                "pairs_done": 0,
            }
        )
        file["layers"] = np.arange(layout.n_layers, dtype=np.int64)
        pairs = file.create_group("pairs")
        pairs.create_dataset("name", data=list(layout.names), dtype=h5py.string_dtype())
        for name in ("divergence_index", *(f"{arm}_{what}" for arm in ARMS for what in ("response_start", "length"))):
            pairs.create_dataset(name, (n_pairs,), np.int32)
        chunk = (min(self._save_every, n_pairs), 1, layout.width)
        for positions in layout.positions:
            group = file.create_group(f"means/{positions}")
            for arm in ARMS:
                group.create_dataset(arm, (n_pairs, *shape), np.float32, chunks=chunk)
                group.create_dataset(f"{arm}_tokens", (n_pairs,), np.int32)
        for arm in ARMS:
            file.create_dataset(f"residual_norm/{arm}", (n_pairs, layout.n_layers), np.float32)
            if layout.tokens:
                self._create_tokens(file.create_group(f"tokens/{arm}"), n_pairs, shape)
        return file

    def _create_tokens(self, group: Any, n_pairs: int, shape: tuple[int, int]) -> None:
        dtype = _STORED_AS[f"torch.{self.layout.dtype}"]
        values = group.create_dataset("values", (0, *shape), dtype, maxshape=(None, *shape), chunks=(16, 1, shape[1]))
        values.attrs["dtype"] = self.layout.dtype  # HDF5 has no bfloat16: its bits are kept as uint16
        group.create_dataset("offsets", (n_pairs + 1,), np.int64)

    def append(self, pair: PairActivations) -> None:
        """Take the next pair; written with the next `flush`, which comes by itself every ``save_every`` pairs."""
        self._waiting.append(pair)
        if len(self._waiting) >= self._save_every:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting.

        Raises:
            StorageError: the disk is full.
        """
        if not self._waiting:
            return
        with storage_errors(self.path):
            begin, end = self.done, self.done + len(self._waiting)
            self._write_pairs(slice(begin, end))
            if self.layout.tokens:
                for arm_index, arm in enumerate(ARMS):
                    self._write_tokens(arm_index, self._file[f"tokens/{arm}"], begin)
            self._file.flush()
            self._file.attrs["pairs_done"] = end
            self._file.flush()
        self.done, self._waiting = end, []

    def _write_pairs(self, where: slice) -> None:
        file, waiting = self._file, self._waiting
        file["pairs/divergence_index"][where] = [pair.divergence_index for pair in waiting]
        for a, arm in enumerate(ARMS):
            file[f"pairs/{arm}_response_start"][where] = [pair.response_start[a] for pair in waiting]
            file[f"pairs/{arm}_length"][where] = [pair.length[a] for pair in waiting]
            file[f"residual_norm/{arm}"][where] = np.stack([pair.pooled[a].norm_L for pair in waiting])
            for p, positions in enumerate(self.layout.positions):
                file[f"means/{positions}/{arm}"][where] = np.stack([pair.pooled[a].mean_PLD[p] for pair in waiting])
                file[f"means/{positions}/{arm}_tokens"][where] = [pair.counts_AP[a, p] for pair in waiting]

    def _write_tokens(self, arm_index: int, group: Any, begin: int) -> None:
        values, offsets = group["values"], group["offsets"]
        start = int(offsets[begin])
        for number, pair in enumerate(self._waiting, begin):
            tokens_LTD = pair.pooled[arm_index].tokens_LTD
            assert tokens_LTD is not None, "the layout asks for tokens, so they were kept"
            raw_TLD = tokens_LTD.transpose(0, 1).contiguous()
            if raw_TLD.dtype == torch.bfloat16:
                raw_TLD = raw_TLD.view(torch.uint16)
            stop = start + len(raw_TLD)
            values.resize(stop, axis=0)
            values[start:stop] = raw_TLD.numpy()
            offsets[number + 1] = start = stop

    def finish(self) -> None:
        """Write the rest, mark the file as complete and give it its name."""
        self.flush()
        if self.done != len(self.layout.names):
            raise ConflictError(f"{self.path}: {self.done} of {len(self.layout.names)} pairs were written; run again.")
        with storage_errors(self.path):
            self._file.attrs["complete"] = True
            self._file.close()
            self._partial.replace(self.path)

    def close(self) -> None:
        """Let go of the file; what was flushed stays for a later run."""
        try:
            self._file.close()
        except (OSError, RuntimeError, ValueError):
            # On a full disk HDF5 cannot even write its own tail; the error that matters is already on its way.
            return
