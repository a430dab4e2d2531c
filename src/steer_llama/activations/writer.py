"""Writing an activations file so that a kill, a full disk or a second writer cannot spoil it.

It grows as ``<name>.partial`` and takes its name when it is whole. HDF5 lays it out in memory once; afterwards rows
are written in place with plain writes, so what is on disk up to `DONE` is always a sound HDF5 file.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout

from steer_llama.activations.layout import ARMS, DONE, Layout, lay_out
from steer_llama.errors import ConflictError, StorageError
from steer_llama.files import atomic_path, check_output, storage_errors
from steer_llama.lm.capture import Pooled
from steer_llama.rundir import free_bytes

PairActivations = tuple[Pooled, Pooled]
"""What the model gave for the chosen and the rejected answer."""


class ActivationWriter:
    """Takes pairs in order; what is on disk is whole up to the last `flush`, and a later run goes on from there."""

    def __init__(self, path: Path, layout: Layout, save_every: int) -> None:
        """Open or create ``<path>.partial``.

        Raises:
            ConflictError: another process is writing the same file.
            StorageError: no place for the file, or it cannot be written.
        """
        check_output(path)
        self.path = path
        self.layout = layout
        self.done = 0
        self.resumed_note = ""
        self._partial = path.with_name(path.name + ".partial")
        self._save_every = save_every
        self._waiting: list[PairActivations] = []
        self._offsets_AN = layout.offsets_AN
        self._lock = FileLock(str(path.with_name(f".{path.name}.lock")))
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise ConflictError(
                    f"{path}: another steer-llama is writing it. Wait for it, or name another file with -o."
                ) from None
            try:
                self._places = self._reopen() or self._create()
                self._file = self._partial.open("r+b", buffering=0)
            except BaseException:
                self._unlock()
                raise

    def _reopen(self) -> Mapping[str, int] | None:
        """Where the datasets of an earlier run's file stand, if it is of the same layout."""
        if not self._partial.exists():
            return None
        try:
            with h5py.File(self._partial, "r") as file:
                if file.attrs["fingerprint"] != self.layout.fingerprint:
                    self.resumed_note = (
                        "the unfinished file of an earlier run was of other pairs or settings; starting anew"
                    )
                    return None
                places = _places(file, self.layout)
                self.done = int(file[DONE][0])
        except (OSError, LookupError, ValueError, TypeError, RuntimeError):
            self.resumed_note = "the unfinished file of an earlier run is damaged; starting anew"
            return None
        self.resumed_note = f"going on after {self.done} pairs of an earlier run"
        return places

    def _create(self) -> Mapping[str, int]:
        self._partial.unlink(missing_ok=True)
        draft = lay_out(self.layout)
        if draft.size > (free := free_bytes(self._partial)):
            raise StorageError(
                f"{self.path}: needs {draft.size / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free there. "
                "Free some space, name another place with -o, or ask for fewer --positions."
            )
        with atomic_path(self._partial) as temporary, temporary.open("r+b") as file:
            draft.write_to(file)
        with h5py.File(draft, "r") as file:
            return _places(file, self.layout)

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
            for number, pair in enumerate(self._waiting, self.done):
                self._write_pair(number, pair)
            self._sync()
            self.done += len(self._waiting)
            self._waiting = []
            self._write(DONE, 0, np.array([self.done], np.int64))
            self._sync()

    def _write_pair(self, number: int, pair: PairActivations) -> None:
        for a, arm in enumerate(ARMS):
            for p, positions in enumerate(self.layout.positions):
                self._write(f"means/{positions}/{arm}", number, pair[a].mean_PLD[p])
            self._write(f"residual_norm/{arm}", number, pair[a].norm_L)
            if self.layout.tokens:
                tokens_LTD = pair[a].tokens_LTD
                assert tokens_LTD is not None, "the layout asks for tokens, so they were kept"
                values_TLD = _storable(tokens_LTD.transpose(0, 1), self.layout.tokens_dtype)
                begin, end = self._offsets_AN[a, number : number + 2]
                assert len(values_TLD) == end - begin, "the mask that was counted is the mask that was read"
                for token, values_LD in enumerate(values_TLD, int(begin)):
                    self._write(f"tokens/{arm}/values", token, values_LD)

    def _write(self, name: str, row: int, values: npt.NDArray[Any]) -> None:
        """Put one row of a dataset in its place."""
        view = memoryview(np.ascontiguousarray(values).view(np.uint8).data).cast("B")
        self._file.seek(self._places[name] + row * len(view))
        while view:
            view = view[self._file.write(view) :]

    def _sync(self) -> None:
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Write the rest and give the file its name.

        Raises:
            StorageError: the disk is full, or something else now stands in the way.
        """
        self.flush()
        if self.done != len(self.layout.pairs):
            raise ConflictError(f"{self.path}: {self.done} of {len(self.layout.pairs)} pairs were written; run again.")
        check_output(self.path)
        with storage_errors(self.path):
            self._partial.replace(self.path)

    def close(self) -> None:
        """Let go of the file; what was flushed stays for a later run."""
        with suppress(OSError):
            self._file.close()
        self._unlock()

    def _unlock(self) -> None:
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()


def _places(file: Any, layout: Layout) -> dict[str, int]:
    """First byte of every dataset that is filled while the model runs.

    Raises:
        LookupError: one is missing.
        ValueError: one is of another shape, type or storage, or `DONE` is out of range.
    """
    places: dict[str, int] = {}
    for name, shape, dtype in layout.filled():
        dataset: Any = file[name]
        offset = dataset.id.get_offset()
        if (dataset.shape, dataset.dtype) != (shape, dtype) or offset is None:
            raise ValueError(f"{name}: {dataset.dtype} {dataset.shape}, expected {dtype} {shape}")
        places[name] = int(offset)
    if not 0 <= int(file[DONE][0]) <= len(layout.pairs):
        raise ValueError(f"{DONE} is {file[DONE][0]}")
    return places


def _storable(tokens: torch.Tensor, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Tokens in the type of the file."""
    if dtype == np.uint16:
        return tokens.to(torch.bfloat16).contiguous().view(torch.uint16).numpy()
    return tokens.float().numpy().astype(dtype)
