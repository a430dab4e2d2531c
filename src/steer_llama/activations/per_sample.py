"""From our own unfinished file to the seed's layout: every answer token of every layer, one dataset a layer and answer.

The reading is done when this begins, so a kill costs the conversion alone. `seed_layout` reads the result.

Shapes: T tokens, D width.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def _write(
    unfinished: Path, new: Path, layout: Layout, store: StoreSettings, advance: Callable[[int], None], stop: Event
) -> None:
    with h5py.File(unfinished, "r") as ours, new.open("w+b", buffering=0) as disk:
        draft = SpillingFile(disk)
        with h5py.File(draft, "w") as seeds:
            seeds.attrs.update(layout.attributes)
            for number, pair in enumerate(layout.pairs):
                _describe(seeds.create_group(f"metadata/sample_{number}"), pair)
                for a, arm in enumerate(ARMS):
                    group = seeds.create_group(f"activations/sample_{number}_{arm}")
                    for row, layer in enumerate(layout.layers):
                        if stop.is_set():
                            return
                        tokens_TD = _tokens(ours, layout, a, number, row)
                        _add(group, f"blocks.{layer}.hook_resid_post", tokens_TD, store)
                        if draft.held > _HELD:
                            draft.spill()
                advance(1)
        draft.close_disk()


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


def _add(group: Any, name: str, tokens_TD: npt.NDArray[np.float32], store: StoreSettings) -> None:
    how: dict[str, Any] = {}
    if store.compression is not None:
        length = max(1, min(len(tokens_TD), _CHUNK // (4 * tokens_TD.shape[1])))
        how = {"compression": store.compression, "chunks": (1, length, tokens_TD.shape[1])}
        if store.compression == "gzip":
            how["compression_opts"] = _GZIP if store.compression_opts is None else store.compression_opts
    group.create_dataset(name, data=tokens_TD[None], **how)
