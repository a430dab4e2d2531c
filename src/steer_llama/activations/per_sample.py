"""From our own unfinished file to the seed's layout: every answer token of every layer, one dataset a layer and answer.

The reading is done when this begins, so a kill costs the conversion alone. `seed_layout` reads the result.

Shapes: T tokens, D width.
"""

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from steer_llama.activations.layout import ARMS, Layout, PairFacts
from steer_llama.activations.sparse import SpillingFile
from steer_llama.config import StoreSettings
from steer_llama.files import storage_errors
from steer_llama.progress import Reporter

_HELD = 32 << 20
"""Bytes that wait in memory for the disk."""
_CHUNK = 1 << 20
"""Bytes of a piece that is compressed by itself."""
_GZIP = 4
_CORES = 16
"""Layers of one answer that are in memory at once, and compressed at once."""


def write_per_sample(unfinished: Path, path: Path, layout: Layout, store: StoreSettings, reporter: Reporter) -> None:
    """Write ``path`` from our own file ``unfinished``, which is whole; whole or not at all.

    Raises:
        StorageError: the disk is full, or ``path`` cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    stop = Event()
    with (
        storage_errors(path),
        reporter.task("writing the samples", len(layout.pairs), "pairs") as advance,
        # In a thread of its own, which no signal interrupts: an exception in the middle of what HDF5 asks of a file
        # would take the process down.
        ThreadPoolExecutor(1) as thread,
    ):
        try:
            thread.submit(_write, unfinished, new, layout, store, advance, stop).result()
            new.replace(path)
        finally:
            stop.set()
            thread.shutdown()
            new.unlink(missing_ok=True)


def room_for(layout: Layout, store: StoreSettings) -> int:
    """Bytes that the seed's file will take, about: gzip takes 7% off float32, and 51% off widened bfloat16."""
    tokens = int(layout.offsets_AN[:, -1].sum()) * len(layout.layers) * layout.width
    return tokens * (layout.tokens_dtype.itemsize if store.compression == "gzip" else 4)


def _write(
    unfinished: Path, new: Path, layout: Layout, store: StoreSettings, advance: Callable[[int], None], stop: Event
) -> None:
    cores = min(os.cpu_count() or 1, _CORES)
    with h5py.File(unfinished, "r") as ours, new.open("w+b", buffering=0) as disk, ThreadPoolExecutor(cores) as threads:
        draft = SpillingFile(disk)
        with h5py.File(draft, "w") as seeds:
            seeds.attrs.update(layout.attributes)
            for number, pair in enumerate(layout.pairs):
                _describe(seeds.create_group(f"metadata/sample_{number}"), pair)
                for a, arm in enumerate(ARMS):
                    group = seeds.create_group(f"activations/sample_{number}_{arm}")
                    for rows in _some_at_a_time(len(layout.layers), cores):
                        if stop.is_set():
                            return
                        tokens = [_tokens(ours, layout, a, number, row) for row in rows]
                        for row, pieces in zip(rows, threads.map(partial(_pieces, store=store), tokens), strict=True):
                            name = f"blocks.{layout.layers[row]}.hook_resid_post"
                            _add(group, name, tokens[row - rows.start], pieces, store)
                            if draft.held > _HELD:
                                draft.spill()
                advance(1)
        draft.close_disk()


def _some_at_a_time(total: int, count: int) -> list[range]:
    return [range(begin, min(begin + count, total)) for begin in range(0, total, count)]


def _describe(group: Any, pair: PairFacts) -> None:
    group.attrs.update(
        {
            "prompt": pair.name.replace("\0", "\ufffd"),
            "divergence_index": pair.divergence_index,
            "response_start_idx": pair.response_start[0],
            "chosen_length": pair.length[0],
            "rejected_length": pair.length[1],
            "rejected_response_start_idx": pair.response_start[1],
        }
    )


def _tokens(ours: Any, layout: Layout, a: int, number: int, row: int) -> npt.NDArray[np.float32]:
    begin, end = (int(offset) for offset in layout.offsets_AN[a, number : number + 2])
    stored_TD: npt.NDArray[Any] = ours[f"tokens/{ARMS[a]}/values"][begin:end, row]
    if layout.dtype == "bfloat16":  # the upper half of a float32
        widened_TD: npt.NDArray[np.float32] = (stored_TD.astype(np.uint32) << 16).view(np.float32)
        return widened_TD
    return stored_TD.astype(np.float32)


def _length(tokens_TD: npt.NDArray[np.float32]) -> int:
    """Tokens of a chunk."""
    return max(1, min(len(tokens_TD), _CHUNK // (4 * tokens_TD.shape[1])))


def _pieces(tokens_TD: npt.NDArray[np.float32], store: StoreSettings) -> list[bytes]:
    """The chunks as HDF5's gzip filter would write them, so that all cores can make them; empty for other filters."""
    if store.compression != "gzip":
        return []
    length = _length(tokens_TD)
    missing = -len(tokens_TD) % length
    whole_TD = np.concatenate([tokens_TD, np.zeros((missing, tokens_TD.shape[1]), np.float32)])
    level = _level(store)
    return [zlib.compress(part_TD.tobytes(), level) for part_TD in np.split(whole_TD, len(whole_TD) // length)]


def _level(store: StoreSettings) -> int:
    return _GZIP if store.compression_opts is None else store.compression_opts


def _add(group: Any, name: str, tokens_TD: npt.NDArray[np.float32], pieces: list[bytes], store: StoreSettings) -> None:
    length, width = _length(tokens_TD), tokens_TD.shape[1]
    if store.compression != "gzip":
        how = {} if store.compression is None else {"compression": store.compression, "chunks": (1, length, width)}
        group.create_dataset(name, data=tokens_TD[None], **how)
        return
    dataset = group.create_dataset(
        name,
        (1, *tokens_TD.shape),
        np.float32,
        chunks=(1, length, width),
        compression="gzip",
        compression_opts=_level(store),
    )
    for number, piece in enumerate(pieces):
        dataset.id.write_direct_chunk((0, number * length, 0), piece)
