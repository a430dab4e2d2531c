import errno
import os
import pickle
import random
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save, save_file

from steer_llama.errors import FileError, InputError, StorageError, VectorError
from steer_llama.vectors import SteeringVector, read_vector, write_vector
from tests.vectors.test_vector import vector


def test_a_round_trip_is_exact(tmp_path: Path) -> None:
    given = vector(
        recommended_layer=7, recommended_strength=0.1 + 0.2, evidence={"pairs": 3, "ü": [0.1, None, "😀"]}, trait="é 😀"
    )
    write_vector(tmp_path / "v.safetensors", given)
    found = read_vector(tmp_path / "v.safetensors")
    assert found.directions_LD.tobytes() == given.directions_LD.tobytes()
    assert found.residual_norm_L is not None
    assert given.residual_norm_L is not None
    assert found.residual_norm_L.tobytes() == given.residual_norm_L.tobytes()
    arrays = ("directions_LD", "residual_norm_L")
    assert {k: v for k, v in vars(found).items() if k not in arrays} == {
        k: v for k, v in vars(given).items() if k not in arrays
    }
    write_vector(tmp_path / "again", found)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "v.safetensors").read_bytes()


def test_the_header_is_aligned_as_the_format_asks(tmp_path: Path) -> None:
    for length in range(9):
        write_vector(tmp_path / "v", vector(trait="x" * length))
        assert int.from_bytes((tmp_path / "v").read_bytes()[:8], "little") % 8 == 0
        assert read_vector(tmp_path / "v").trait == "x" * length


def test_what_stands_in_the_file(tmp_path: Path) -> None:
    write_vector(tmp_path / "v", vector())
    with safe_open(tmp_path / "v", framework="numpy") as file:
        assert sorted(file.keys()) == ["directions", "layers", "residual_norm"]
        assert file.get_tensor("directions").dtype == np.float32
        assert file.get_tensor("layers").dtype == np.int64
        assert file.get_tensor("layers").tolist() == [4, 7, 9]
        metadata = file.metadata()
    assert metadata["format"] == "steer-llama vector 1"
    assert metadata["recommended_layer"] == metadata["recommended_strength"] == ""
    assert all(isinstance(value, str) for value in metadata.values())


def test_files_that_are_no_vectors(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        read_vector(tmp_path / "none")
    for number, content in enumerate([b"", b"hello", b"\xff" * 100, b"\x10" + bytes(7) + b"{}" + bytes(14)]):
        path = tmp_path / str(number)
        path.write_bytes(content)
        with pytest.raises(FileError, match=rf"{path}: "):
            read_vector(path)
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "foreign")
    with pytest.raises(FileError, match=r"not a steer-llama vector \(it holds weight\)"):
        read_vector(tmp_path / "foreign")


def changed(tmp_path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Path:
    """A vector's file with some of its content replaced."""
    write_vector(tmp_path / "v", vector())
    with safe_open(tmp_path / "v", framework="numpy") as file:
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        facts = file.metadata() | dict(metadata)
    (tmp_path / "changed").write_bytes(save(content | dict(tensors), metadata=facts))
    return tmp_path / "changed"


@pytest.mark.parametrize(
    "tensors",
    [
        {"layers": np.array([4.5, 7, 9])},
        {"layers": np.array([np.nan, 7, 9])},
        {"layers": np.array([[4], [7], [9]])},
        {"layers": np.array(4)},
        {"layers": np.array([4, 7, -9])},
        {"directions": np.full((3, 16), np.inf, np.float32)},
        {"directions": np.full((3, 16), 1e300)},
        {"directions": np.zeros((3, 4, 4), np.float32)},
        {"directions": np.zeros((3, 16), np.int32)},
        {"residual_norm": np.ones((3, 1), np.float32)},
    ],
)
def test_tensors_that_are_no_vector(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(VectorError, match="changed: "):
        read_vector(changed(tmp_path, tensors, {}))


@pytest.mark.parametrize(
    "metadata",
    [
        {"recommended_layer": "x"},
        {"recommended_layer": "5"},
        {"recommended_strength": "much"},
        {"recommended_strength": "nan"},
        {"evidence": "{"},
        {"evidence": "[]"},
    ],
)
def test_metadata_that_is_no_vectors(tmp_path: Path, metadata: dict[str, str]) -> None:
    with pytest.raises(VectorError, match="changed: "):
        read_vector(changed(tmp_path, {}, metadata))


def test_another_version(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="'steer-llama vector 2'; this program reads 'steer-llama vector 1'"):
        read_vector(changed(tmp_path, {}, {"format": "steer-llama vector 2"}))


def test_any_damage_is_an_error_of_ours_or_still_a_vector(tmp_path: Path) -> None:
    write_vector(tmp_path / "v", vector(evidence={"pairs": 3}, recommended_layer=7, recommended_strength=0.2))
    whole, path, draw, refused = (tmp_path / "v").read_bytes(), tmp_path / "x", random.Random(0), 0
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 1, 3, 20])):
            content[draw.randrange(len(content) if draw.random() < 0.3 else 700)] = draw.randrange(256)
        if draw.random() < 0.2:
            del content[draw.randrange(len(content)) :]
        path.write_bytes(content)
        try:
            assert isinstance(read_vector(path), SteeringVector)
        except InputError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 200


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Deadly:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/harm",)

    (tmp_path / "v.pt").write_bytes(pickle.dumps(Deadly()))
    with pytest.raises(FileError, match="not a safetensors file"):
        read_vector(tmp_path / "v.pt")
    assert not (tmp_path / "harm").exists()


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("/dev/full", "/dev/null"):
        with pytest.raises(StorageError, match="device"):
            write_vector(Path(device), vector())
        assert stat.S_ISCHR(Path(device).stat().st_mode)
    with pytest.raises(StorageError, match="folder"):
        write_vector(tmp_path, vector())
    write_vector(tmp_path / "v", vector())
    before = (tmp_path / "v").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        write_vector(tmp_path / "v", vector(trait="other"))
    assert (tmp_path / "v").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "x", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        write_vector(tmp_path / "v", vector())
        before = (tmp_path / "v").read_bytes()
        with pytest.raises(StorageError, match="the disk is full"):
            write_vector(tmp_path / "v", vector(directions_LD=np.ones((3, 50_000), np.float32)))
        assert (tmp_path / "v").read_bytes() == before
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
