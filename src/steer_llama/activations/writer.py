"""Writing an activations file so that a kill, a full disk or a second writer cannot spoil it.

It grows as ``<name>.partial`` and takes its name when it is whole. HDF5 lays it out in memory once; afterwards rows
are written in place with plain writes, so what is on disk up to `DONE` is always a sound HDF5 file. A file that was
made with other settings is never mixed in, and replaced only on request (`standing`).
"""

import glob
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout

from steer_llama.activations.layout import ARMS, BUDGET, DONE, ORDER, Layout, lay_out
from steer_llama.activations.standing import UNREADABLE, Existing, check_same, fingerprint_of, is_finished
from steer_llama.errors import ConflictError, StorageError
from steer_llama.files import atomic_path, check_output, digest_json, storage_errors
from steer_llama.lm.reading import Batches, Pooled
from steer_llama.rundir import free_bytes

PairActivations = tuple[Pooled, Pooled]
"""What the model gave for the chosen and the rejected answer."""
HELD = 256 << 20
"""Bytes of pairs that wait to be written, at most: a token of a 70B model has 2.6 MB."""


class ActivationWriter:
    """Takes pairs in the order in which they are read.

    What is on disk is whole up to the last `flush`, and a later run goes on from there.
    """

    def __init__(
        self, path: Path, layout: Layout, save_every: int, existing: Existing = "refuse", beside: int = 0
    ) -> None:
        """Open or create ``<path>.partial``, unless ``path`` is finished.

        Args:
            path: the file to write.
            layout: what it will hold.
            save_every: pairs between two writes.
            existing: what becomes of a file of other settings.
            beside: bytes that `finish` will need beside the unfinished file.

        Raises:
            ConflictError: another process is writing the same file, or a file of other settings lies there.
            StorageError: no place for the file, or it cannot be written.
        """
        check_output(path)
        self.path = path
        self.layout = layout
        self.done = 0
        """Pairs that are on disk."""
        self.token_budget = 0
        """That of the run that began the file; 0 where this one does."""
        self.resumed_note = ""
        self._order = 0
        self._partial = path.with_name(path.name + ".partial")
        self._save_every = save_every
        self._existing, self._beside = existing, beside
        self._waiting: list[tuple[int, PairActivations]] = []
        self._held = 0
        self._chunked = layout.chunked
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
                self.finished = is_finished(path, layout, existing)
                """Whether there is nothing to do."""
                self.done = len(layout.pairs) if self.finished else 0
                self._clear_leftovers()
                self._places = self._reopen() or ({} if self.finished else self._create())
                self._file = None if self.finished else self._partial.open("r+b", buffering=0)
            except BaseException:
                self._unlock()
                raise

    def _clear_leftovers(self) -> None:
        """Take away what a run that was killed at the beginning or at the very end has left."""
        for leftover in self.path.parent.glob(f".{glob.escape(self._partial.name)}.*.tmp"):
            leftover.unlink()
        if self.finished and fingerprint_of(self._partial) == self.layout.fingerprint:
            self._partial.unlink()

    def _reopen(self) -> Mapping[str, int] | None:
        """Where the datasets of an earlier run's file stand, if it is of the same layout."""
        if self.finished or not self._partial.exists():
            return None
        try:
            with h5py.File(self._partial, "r") as file:
                if check_same(self._partial, dict(file.attrs), self.layout, self._existing):
                    places = _places(file, self.layout)
                    self.done = int(file[DONE][0])
                    # Settled by the first pair; before it, a budget that was too much can still be lowered.
                    self.token_budget = int(file[BUDGET][0]) if self.done else 0
                    self._order = int(file[ORDER][0])
                    self.resumed_note = f"going on after {self.done} pairs of an earlier run"
                    return places
        except UNREADABLE:
            self.resumed_note = "the unfinished file of an earlier run is damaged; starting anew"
            return None
        self.resumed_note = "the unfinished file of an earlier run was of other pairs or settings; starting anew"
        return None

    def _create(self) -> Mapping[str, int]:
        self._partial.unlink(missing_ok=True)
        draft = lay_out(self.layout)
        needed = draft.size + self._beside
        if needed > (free := free_bytes(self._partial)):
            raise StorageError(
                f"{self.path}: needs {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free there. "
                "Free some space, name another place with -o, or ask for fewer --layers or --positions."
            )
        with atomic_path(self._partial) as temporary, temporary.open("r+b") as file:
            draft.write_to(file)
        with h5py.File(draft, "r") as file:
            return _places(file, self.layout)

    def begin(self, batches: Batches) -> None:
        """Settle which pairs are read together and in which order, before the first one is written.

        Raises:
            ConflictError: the run that began the file read them in another order, so it is not known which are done.
        """
        order = int(digest_json([batches.groups, batches.engine])[:15], 16)
        if self.done and order != self._order and self._existing == "refuse":
            raise ConflictError(
                f"{self._partial}: was begun with other batches or another engine than this machine has, so it cannot "
                "go on here. Finish it where it was begun, or begin anew with --overwrite."
            )
        if self.done and order != self._order:
            self.restart()
        with storage_errors(self.path):
            self._write(BUDGET, 0, np.array([batches.token_budget], np.int64))
            self._write(ORDER, 0, np.array([order], np.int64))

    def restart(self) -> None:
        """Read every pair again, in whatever batches.

        Raises:
            StorageError: the disk fails.
        """
        with storage_errors(self.path):
            self._write(DONE, 0, np.array([0], np.int64))
            self._sync()
        self.done = self.token_budget = 0

    def append(self, number: int, pair: PairActivations) -> None:
        """Take the pair that is read next; its rows have ``number``.

        It is written with the next `flush`, which comes by itself every ``save_every`` pairs, and earlier where they
        hold more than `HELD`.
        """
        self._waiting.append((number, pair))
        self._held += sum(_bytes_of(arm) for arm in pair)
        if len(self._waiting) >= self._save_every or self._held >= HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting.

        Raises:
            StorageError: the disk is full.
        """
        if not self._waiting:
            return
        with storage_errors(self.path):
            for number, pair in self._waiting:
                self._write_pair(number, pair)
            self._sync()
            self.done += len(self._waiting)
            self._waiting, self._held = [], 0
            self._write(DONE, 0, np.array([self.done], np.int64))
            self._sync()

    def _write_pair(self, number: int, pair: PairActivations) -> None:
        for a, arm in enumerate(ARMS):
            for p, positions in enumerate(self.layout.positions):
                self._write(f"means/{positions}/{arm}", number, pair[a].mean_PLD[p])
            self._write(f"residual_norm/{arm}", number, pair[a].norm_L)
            if self.layout.tokens:
                self._write_tokens(a, number, pair[a])

    def _write_tokens(self, a: int, number: int, arm: Pooled) -> None:
        """Put single tokens in their places, layer by layer."""
        name = f"tokens/{ARMS[a]}/values"
        first, last = (int(offset) for offset in self._offsets_AN[a, number : number + 2])
        tokens_LTD = arm.tokens_LTD
        assert tokens_LTD is not None, "the layout asks for tokens, so they were kept"
        assert tokens_LTD.shape[1] == last - first, "the mask that was counted is the mask that was read"
        chunks = self._chunked[name]
        for layer, tokens_TD in enumerate(tokens_LTD):
            values_TD = _storable(tokens_TD, self.layout.tokens_dtype)
            for begin, end, byte in chunks.pieces(first, last - first):
                self._put(self._places[name] + byte + layer * chunks.bytes, values_TD[begin:end])

    def _write(self, name: str, row: int, values: npt.NDArray[Any]) -> None:
        """Put one row of a dataset in its place."""
        self._put(self._places[name] + row * values.nbytes, values)

    def _put(self, byte: int, values: npt.NDArray[Any]) -> None:
        assert self._file is not None, "a finished file takes no pairs"
        view = memoryview(np.ascontiguousarray(values).view(np.uint8).data).cast("B")
        self._file.seek(byte)
        while view:
            view = view[self._file.write(view) :]

    def _sync(self) -> None:
        assert self._file is not None, "a finished file takes no pairs"
        os.fsync(self._file.fileno())

    def finish(self, convert: Callable[[Path], None] | None = None) -> None:
        """Write the rest and give the file its name.

        Args:
            convert: instead of giving it its name, writes the file ``path`` from the whole ``<path>.partial``.

        Raises:
            StorageError: the disk is full, or something else now stands in the way.
        """
        if self.finished:
            return
        self.flush()
        if self.done != len(self.layout.pairs):
            raise ConflictError(f"{self.path}: {self.done} of {len(self.layout.pairs)} pairs were written; run again.")
        check_output(self.path)
        with storage_errors(self.path):
            if convert is None:
                self._partial.replace(self.path)
            else:
                convert(self._partial)
                self._partial.unlink()

    def close(self) -> None:
        """Let go of the file; what was flushed stays for a later run."""
        with suppress(OSError):
            if self._file is not None:
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
    chunked = layout.chunked
    for name, shape, dtype in layout.filled():
        dataset: Any = file[name]
        if (dataset.shape, dataset.dtype) != (shape, dtype):
            raise ValueError(f"{name}: {dataset.dtype} {dataset.shape}, expected {dtype} {shape}")
        offset = chunked[name].check(dataset) if name in chunked else dataset.id.get_offset()
        if offset is None:
            raise ValueError(f"{name}: has no place of its own")
        places[name] = int(offset)
    if not 0 <= int(file[DONE][0]) <= len(layout.pairs):
        raise ValueError(f"{DONE} is {file[DONE][0]}")
    return places


def _storable(tokens: torch.Tensor, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Tokens in the type of the file."""
    if dtype == np.uint16:
        return tokens.to(torch.bfloat16).contiguous().view(torch.uint16).numpy()
    return tokens.float().numpy().astype(dtype)


def _bytes_of(arm: Pooled) -> int:
    return arm.mean_PLD.nbytes + arm.norm_L.nbytes + (arm.tokens_LTD.nbytes if arm.tokens_LTD is not None else 0)
