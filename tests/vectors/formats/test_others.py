"""Every format of another tool: what is written comes back, at the same layer, and our knowledge with it."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_llama.errors import FileError, StorageError, VectorError
from steer_llama.vectors import FORMATS, SteeringVector, open_vector, save_vector
from tests.vectors.test_vector import vector

KEEPING_ALL = ("steer-llama", "numpy", "saklas", "vllm-lens")
"""The formats that have room for all that we know."""

FULL: dict[str, Any] = {
    "recommended_layer": 7,
    "recommended_strength": 0.1 + 0.2,
    "evidence": {"pairs": 3, "ü": [0.1, None, "😀"], "deep": [[[[[[[[[[1.5]]]]]]]]]], "none": float("inf")},
    "trait": "é 😀",
    "dtype": "bfloat16",
    "revision": "r",
    "model_type": "llama",
}


def same(found: SteeringVector, given: SteeringVector) -> None:
    for field in fields(SteeringVector):
        mine, other = getattr(found, field.name), getattr(given, field.name)
        if isinstance(other, np.ndarray):
            assert mine.dtype == other.dtype
            assert mine.tobytes() == other.tobytes(), field.name
        else:
            assert mine == other, field.name


@pytest.mark.parametrize("name", KEEPING_ALL)
@pytest.mark.parametrize("changes", [{}, FULL, {"residual_norm_L": None, "model": "", "model_fingerprint": ""}])
def test_a_round_trip_is_exact(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    given = vector(**changes)
    path = tmp_path / f"v{FORMATS[name].suffix}"
    save_vector(path, given, name)
    reading = open_vector(path)  # which recognises it
    assert (reading.format, reading.notes) == (name, ())
    same(reading.vector, given)
    again = tmp_path / "again" / path.name
    save_vector(again, reading.vector, name)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", KEEPING_ALL)
def test_no_format_takes_anothers_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"v{FORMATS[name].suffix}"
    save_vector(path, vector(), name)
    assert [form.name for form in FORMATS.values() if form.recognises(path)] == [name]
    for form in FORMATS.values():
        if form.name != name:
            with pytest.raises((FileError, VectorError), match=str(path)):
                form.read(path)


@pytest.mark.parametrize("name", KEEPING_ALL)
def test_rows_stay_with_their_layers(tmp_path: Path, name: str) -> None:
    given = vector(layers=(9, 2, 11), recommended_layer=2)
    path = tmp_path / f"v{FORMATS[name].suffix}"
    save_vector(path, given, name)
    found = open_vector(path).vector
    for layer in given.layers:
        assert (found.direction_D(layer) == given.direction_D(layer)).all()
        assert found.residual_norm(layer) == given.residual_norm(layer)


@pytest.mark.parametrize("name", KEEPING_ALL)
def test_a_place_that_cannot_be_written(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"v{FORMATS[name].suffix}"
    with pytest.raises(StorageError, match="a part of the path is a file"):
        (tmp_path / "file").touch()
        save_vector(tmp_path / "file" / path.name, vector(), name)
    save_vector(path, vector(), name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(StorageError, match="disk is full"):
        save_vector(path, vector(trait="other"), name)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def _full(handle: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", KEEPING_ALL)
@pytest.mark.parametrize("write", [lambda path: None, Path.touch, Path.mkdir])
def test_what_is_no_file(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    path = tmp_path / "v"
    write(path)
    assert not FORMATS[name].recognises(path)
    with pytest.raises(FileError, match=str(path)):
        open_vector(path, name)
