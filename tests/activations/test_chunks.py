"""Single tokens stand where HDF5 looks for them, and a layer can be read by itself."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from steer_llama.activations import chunks
from steer_llama.activations.layout import Layout, PairFacts, lay_out
from steer_llama.activations.sparse import SparseFile
from tests.activations.test_writer import write
from tests.activations.tiny import made_up_layout, made_up_pair


def large(n_pairs: int, tokens: int, layers: int = 80, width: int = 8192) -> Layout:
    facts = tuple(
        PairFacts(
            f"{n}",
            40,
            (40, 40),
            (40 + tokens,) * 2,
            np.array([[tokens], [tokens]]),
            (np.zeros(tokens, np.int32),) * 2,
            (np.ones(tokens, np.uint8),) * 2,
        )
        for n in range(n_pairs)
    )
    return Layout("m", "f" * 64, "bfloat16", tuple(range(layers)), width, ("response",), True, facts, "t")


@pytest.mark.parametrize("length", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, dtype: str) -> None:
    layout = made_up_layout(tokens=True, dtype=dtype)
    monkeypatch.setattr(chunks, "_BYTES", length * 8 * layout.tokens_dtype.itemsize)
    write(tmp_path / "a.h5", layout)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for a, arm in enumerate(("chosen", "rejected")):
            values, offsets = file[f"tokens/{arm}/values"], file[f"tokens/{arm}/offsets"][:]
            assert values.chunks == (min(length, offsets[-1]), 1, 8)
            for layer in range(3):
                kept = [made_up_pair(layout, n)[a].tokens_LTD for n in range(7)]
                expected_TD = torch.cat([tokens[layer] for tokens in kept if tokens is not None])
                if dtype == "bfloat16":
                    expected_TD = expected_TD.view(torch.uint16)
                np.testing.assert_array_equal(values[:, layer], expected_TD.numpy())


def test_every_chunk_of_a_large_file_stands_where_it_is_computed() -> None:
    layout = large(20, 170, layers=30, width=576)
    file, name = lay_out(layout), "tokens/rejected/values"
    with h5py.File(file, "r") as hdf5:
        dataset, divided = hdf5[name], layout.chunked[name]
        first = divided.check(dataset)
        found: dict[tuple[int, ...], int] = {}
        dataset.id.chunk_iter(lambda chunk: found.update({chunk.chunk_offset: chunk.byte_offset}))
    expected: dict[tuple[int, ...], int] = {}
    for begin, _, byte in divided.pieces(0, 20 * 170):
        expected |= {(begin, layer, 0): first + byte + layer * divided.bytes for layer in range(30)}
    assert found == expected


def test_a_70b_model_and_a_thousand_pairs_take_no_index() -> None:
    layout = large(1000, 200)
    file = lay_out(layout)
    values = 2 * 200_000 * 80 * 8192 * 2
    means = 2 * 1000 * 80 * 8192 * 4
    assert values + means < file.size < (values + means) * 1.002
    answers = 2 * 200_000 * (4 + 1) // 4096  # their token ids and masks
    assert len(file._pages) - answers < 100, "what else is not zeros has less than 400 kB"


def test_another_division_is_noticed() -> None:
    layout, name = made_up_layout(tokens=True), "tokens/chosen/values"
    expected = layout.chunked[name]
    for how in ({"chunks": (3, 1, 8)}, {"chunks": (expected.length, 1, 8), "compression": "gzip"}):
        file = SparseFile()
        with h5py.File(file, "w") as hdf5:
            hdf5.create_dataset(name, data=np.ones((expected.tokens, 3, 8), np.float32), **how)
        with h5py.File(file, "r") as hdf5, pytest.raises(ValueError, match="chunks"):
            expected.check(hdf5[name])
