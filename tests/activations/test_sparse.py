import errno
import io
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from steer_llama.activations.sparse import SparseFile, SpillingFile


def test_it_behaves_as_a_file_in_memory() -> None:
    ours, plain, draw = SparseFile(), io.BytesIO(), random.Random(0)
    for _ in range(300):
        place, length = draw.randrange(30_000), draw.randrange(9_000)
        for file in (ours, plain):
            file.seek(place)
        if draw.random() < 0.5:
            data = draw.randbytes(length)
            assert ours.write(data) == plain.write(data)
        else:
            assert ours.read(length) == plain.read(length)
        assert ours.tell() == plain.tell()
    assert ours.seek(0, io.SEEK_END) == plain.seek(0, io.SEEK_END)
    ours.seek(0)
    assert ours.read() == plain.getvalue()


def test_what_it_writes_to_disk_is_the_same(tmp_path: Path) -> None:
    file = SparseFile()
    file.seek(10_000)
    file.write(b"abc")
    file.truncate(20_001)
    with (tmp_path / "x").open("wb") as out:
        file.write_to(out)
    assert (tmp_path / "x").read_bytes() == bytes(10_000) + b"abc" + bytes(9_998)


def test_hdf5_lays_out_terabytes_in_no_room() -> None:
    file = SparseFile()
    with h5py.File(file, "w") as hdf5:
        place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        place.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        hdf5.create_dataset("large", (1 << 30, 1 << 10), np.float32, dcpl=place)
        hdf5["small"] = [1, 2]
    assert file.size > 1 << 42
    assert len(file._pages) < 20
    with h5py.File(file, "r") as hdf5:
        assert list(hdf5["small"]) == [1, 2]
        assert hdf5["large"][123_456_789, 5] == 0


def test_a_file_that_spills_is_the_same(tmp_path: Path) -> None:
    plain, draw = io.BytesIO(), random.Random(0)
    with (tmp_path / "x").open("w+b", buffering=0) as disk:
        ours = SpillingFile(disk)
        for _ in range(300):
            place, length = draw.randrange(30_000), draw.randrange(9_000)
            for file in (ours, plain):
                file.seek(place)
            if draw.random() < 0.5:
                data = draw.randbytes(length)
                assert ours.write(data) == plain.write(data)
            else:
                assert ours.read(length) == plain.read(length)
            if draw.random() < 0.2:
                ours.spill()
                assert ours.held == 0
        ours.close_disk()
    assert (tmp_path / "x").read_bytes() == plain.getvalue()


def test_hdf5_never_meets_a_full_disk(tmp_path: Path) -> None:
    class Full(io.FileIO):
        left = 100_000

        def write(self, data: Any) -> int:
            if self.left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = super().write(data[: self.left])
            self.left -= written
            return written

    def fill(disk: io.FileIO) -> None:
        draft = SpillingFile(disk)
        with h5py.File(draft, "w") as file:
            for number in range(100):
                file.create_dataset(
                    f"group/{number}", data=np.full(5000, number), compression="gzip", compression_opts=0
                )
                draft.spill()

    with Full(tmp_path / "x", "w+") as disk, pytest.raises(OSError, match="No space left"):
        fill(disk)
