import io
import json
import random
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_llama.errors import FileError, InputError, VectorError
from steer_llama.vectors import SteeringVector, open_vector, save_vector
from tests.vectors.formats.fuzzing import damaged
from tests.vectors.test_vector import vector

VALUES_LD = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)


def test_numpy_itself_reads_it(tmp_path: Path) -> None:
    assert save_vector(tmp_path / "v.npz", vector(trait="é"), "numpy") == ()
    with np.load(tmp_path / "v.npz", allow_pickle=False) as held:
        assert sorted(held) == ["directions", "layers", "metadata", "residual_norm"]
        assert (held["directions"].dtype, held["layers"].dtype) == (np.float32, np.int64)
        assert (held["directions"] == vector().directions_LD).all()
        assert held["layers"].tolist() == [4, 7, 9]
        assert held["residual_norm"].tolist() == [10, 20, 30]
        assert json.loads(str(held["metadata"]))["trait"] == "é"
    with zipfile.ZipFile(tmp_path / "v.npz") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_archives_of_others(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez_compressed(path, directions=np.asfortranarray(VALUES_LD), layers=np.array([5, 2, 8], np.uint8))
    found = open_vector(path).vector
    assert (found.layers, found.model_fingerprint) == ((5, 2, 8), "")
    assert (found.direction_D(2) == VALUES_LD[1]).all()
    np.savez(path, directions=VALUES_LD.astype(np.float64), layers=np.arange(3))
    reading = open_vector(path)
    assert (reading.vector.directions_LD == VALUES_LD).all()
    assert "rounded to float32" in reading.notes[0]
    np.savez(path, directions=VALUES_LD.astype(">f4"), layers=np.arange(3))
    assert open_vector(path).vector.directions_LD.tobytes() == VALUES_LD.tobytes()


@pytest.mark.parametrize("arrays", [{"directions": VALUES_LD, "more": np.ones(2)}, {"arr_0": VALUES_LD}, None])
def test_rows_without_numbers_are_read_on_request(tmp_path: Path, arrays: dict[str, Any] | None) -> None:
    path = tmp_path / "v"
    with path.open("wb") as file:
        np.save(file, VALUES_LD) if arrays is None else np.savez(file, **arrays)
    with pytest.raises(FileError, match=r"name it: steer-llama convert .* --from FORMAT"):
        open_vector(path)
    reading = open_vector(path, "numpy")
    assert reading.vector.layers == (0, 1, 2)
    assert (reading.vector.direction_D(1) == VALUES_LD[1]).all()
    assert "row i is taken for block i" in reading.notes[0]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a": VALUES_LD, "b": VALUES_LD}, "has no array 'directions'; it holds a, b"),
        ({"directions": VALUES_LD[0], "layers": np.arange(3)}, r"shape \(8,\); expected floating-point"),
        ({"directions": VALUES_LD.astype(np.int32), "layers": np.arange(3)}, "directions are int32"),
        ({"directions": VALUES_LD, "layers": np.arange(4)}, r"expected whole numbers of shape \(3,\)"),
        ({"directions": VALUES_LD, "layers": np.arange(3.0)}, "'layers' is float64"),
        ({"directions": VALUES_LD, "layers": np.arange(3) - 1}, "0 or more"),
        ({"directions": VALUES_LD * np.inf, "layers": np.arange(3)}, "NaN or infinity"),
        ({"directions": VALUES_LD.astype(np.float64) * 1e300, "layers": np.arange(3)}, "NaN or infinity"),
        ({"directions": VALUES_LD, "layers": np.arange(3), "residual_norm": np.ones(2)}, "'residual_norm'"),
        ({"directions": VALUES_LD, "layers": np.arange(3), "metadata": np.array("[")}, "'metadata'"),
        ({"directions": VALUES_LD, "layers": np.arange(3), "metadata": np.array("[" * 100_000)}, "'metadata'"),
        ({"directions": VALUES_LD, "layers": np.array([object()] * 3)}, "header of an array of numbers"),
    ],
)
def test_arrays_that_are_no_vector(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises((FileError, VectorError), match=rf"v\.npz: .*{says}"):
        open_vector(tmp_path / "v.npz", "numpy")


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def test_a_shape_that_is_not_there(tmp_path: Path) -> None:
    content = npy(VALUES_LD)
    for shape in (b"(3, 800000000000)", b"(3,)", b"(0, 8)", b"(3, 9)", b"(3, 7)", b"(99999999999999999999999, 3)"):
        path = tmp_path / "v.npy"
        path.write_bytes(content.replace(b"(3, 8)", shape))
        with pytest.raises(FileError, match=r"no header|needs"):
            open_vector(path, "numpy")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_not_unpacked(tmp_path: Path, method: int) -> None:
    path = tmp_path / "v.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("layers.npy", npy(np.arange(1)))
        with archive.open("directions.npy", "w") as member:
            member.write(npy(np.zeros((1, 2**26), np.float32))[:128])
            for _ in range(256):
                member.write(bytes(2**20))
    assert path.stat().st_size < 10**6
    with pytest.raises(FileError, match=r"that is no vector|a way that numpy does not use"):
        open_vector(path)


def test_a_bomb_that_says_it_is_small(tmp_path: Path) -> None:
    """The archive says 512 bytes; unpacking it is stopped there."""
    path = tmp_path / "v.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("directions.npy", npy(np.zeros((1, 2**24), np.float32)))
    content = path.read_bytes()
    size = (2**26 + 128).to_bytes(4, "little")
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (512).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(FileError, match=r"CRC|needs"):
        open_vector(path, "numpy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22, "it was unpacked"


def test_damaged_arrays(tmp_path: Path) -> None:
    """An archive's checksums keep most damage from the reader of arrays; here it meets it all."""
    content, draw, path, refused = npy(VALUES_LD), random.Random(0), tmp_path / "v.npy", 0
    for _ in range(2000):
        path.write_bytes(damaged(content, draw))
        try:
            assert isinstance(open_vector(path, "numpy").vector, SteeringVector)
        except InputError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 1000


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="no header of an array of numbers"):
        open_vector(tmp_path / "v.npy", "numpy")
