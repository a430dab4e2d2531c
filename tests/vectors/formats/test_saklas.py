import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from steer_llama.errors import ConfigError, FileError, InputError, StorageError, VectorError
from steer_llama.vectors import open_vector, save_vector
from tests.packages import with_package
from tests.vectors.test_vector import vector

ROWS = {"layer_12": np.arange(4, dtype=np.float32), "layer_3": np.ones(4, np.float32)}


def theirs(folder: Path, rows: dict[str, np.ndarray], **changes: Any) -> Path:
    """A profile as saklas 5.3.0 saves it."""
    path = folder / "theirs.safetensors"
    save_file(rows, path)
    beside = {
        "format_version": 6,
        "saklas_version": "5.3.0",
        "method": "manifold_pca",
        "tensor_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "provenance": {"model_id": "some/model"},
    }
    path.with_suffix(".json").write_text(json.dumps(beside | changes))
    return path


def test_theirs(tmp_path: Path) -> None:
    reading = open_vector(theirs(tmp_path, ROWS))
    found = reading.vector
    assert (reading.format, found.layers, found.model, found.estimator) == (
        "saklas",
        (3, 12),
        "some/model",
        "manifold_pca",
    )
    assert found.direction_D(12).tolist() == [0, 1, 2, 3]
    assert len(reading.notes) == 1
    assert "shares between layers" in reading.notes[0]


def test_without_the_file_beside_it(tmp_path: Path) -> None:
    path = theirs(tmp_path, ROWS)
    path.with_suffix(".json").unlink()
    with pytest.raises(FileError, match="--from"):
        open_vector(path)
    reading = open_vector(path, "saklas")
    assert "theirs.json is not beside it" in reading.notes[1]
    path.rename(tmp_path / "v.json")
    assert open_vector(tmp_path / "v.json", "saklas").vector.layers == (3, 12)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tensor_sha256": "0" * 64}, "its SHA-256 is another"),
        ({"format_version": 5}, "saklas' format 5; this program reads 6"),
        ({"provenance": []}, "expected saklas' JSON"),
        ({"provenance": {"steer_llama": {"model": 1}}}, "'model' is a int"),
    ],
)
def test_a_file_beside_it_that_does_not_fit(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_vector(theirs(tmp_path, ROWS, **changes))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"layer_1": np.ones(4, np.float32), "layer_2": np.ones(5, np.float32)}, "of one width"),
        ({"layer_1": np.ones(4, np.float64)}, "expected float32"),
        ({"layer_1": np.ones((1, 4), np.float32)}, "expected float32"),
        ({"layer_1": np.full(4, np.nan, np.float32)}, "NaN"),
        ({"layer_9999999999": np.ones(4, np.float32)}, "no model has so many"),
        ({"layer_1.mean": np.ones(4, np.float32)}, "has a tensor 'layer_1.mean'"),
        ({"layer_01": np.ones(4, np.float32)}, "has a tensor 'layer_01'"),
        ({}, "holds no layer"),
    ],
)
def test_tensors_that_are_no_vector(tmp_path: Path, rows: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises((FileError, VectorError), match=says):
        open_vector(theirs(tmp_path, rows), "saklas")


def test_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    notes = save_vector(path, vector(), "saklas")
    assert [word in note for word, note in zip(("v.json", "do not carry over"), notes, strict=True)] == [True, True]
    assert {name: row.tobytes() for name, row in load_file(path).items()} == {
        f"layer_{layer}": row.tobytes() for layer, row in zip((4, 7, 9), vector().directions_LD, strict=True)
    }
    beside = json.loads((tmp_path / "v.json").read_text())
    assert set(beside) == {"format_version", "saklas_version", "method", "tensor_sha256", "provenance"}
    assert beside["tensor_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    save_vector(path, vector(trait="other"), "saklas")
    assert open_vector(path).vector.trait == "other"


def test_nobodys_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('{"mine": 1}')
    with pytest.raises(StorageError, match=r"v\.json: a file of that name is in the way"):
        save_vector(tmp_path / "v.safetensors", vector(), "saklas")
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        save_vector(tmp_path / "v.json", vector(), "saklas")
    assert [path.name for path in tmp_path.iterdir()] == ["v.json"]


@pytest.fixture(scope="module")
def saklas() -> dict[str, str]:
    """The environment variables of a Python that has saklas, in a folder that is laid over our environment."""
    return with_package("saklas==5.3.0")


LOADING = """
import json, sys
from saklas.core.profile import load_profile, save_profile
profile, metadata = load_profile(sys.argv[1])
save_profile(profile, sys.argv[2], metadata)
print(json.dumps({str(layer): row.tolist() for layer, row in profile.items()}))
"""


@pytest.mark.slow
def test_saklas_own_loader_takes_it(tmp_path: Path, saklas: dict[str, str]) -> None:
    deep: dict[str, Any] = {"evidence": {"deep": [[[[[[[[[[1]]]]]]]]]]}, "recommended_layer": 7}
    ours, again = tmp_path / "v.safetensors", tmp_path / "again.safetensors"
    save_vector(ours, vector(**deep), "saklas")
    command = [sys.executable, "-c", LOADING, str(ours), str(again)]
    done = subprocess.run(command, env=saklas, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {str(layer): row.tolist() for layer, row in zip((4, 7, 9), vector().directions_LD, strict=True)}
    reading = open_vector(again)  # what saklas wrote
    assert reading.vector.directions_LD.tobytes() == vector().directions_LD.tobytes()
    assert reading.vector.evidence == deep["evidence"]


HOOKING = """
import json, sys, torch
from saklas.core.hooks import HiddenCapture
blocks = torch.nn.ModuleList([torch.nn.Linear(4, 4) for _ in range(5)])
capture = HiddenCapture()
capture.attach(blocks, [1, 3])
hidden, outputs = torch.randn(1, 3, 4), []
for block in blocks:
    hidden = block(hidden)
    outputs.append(hidden[0, -1])
found = capture.stacked()
print(json.dumps([layer for layer in found if torch.equal(found[layer][-1], outputs[layer])]))
"""


@pytest.mark.slow
def test_saklas_layer_is_ours(saklas: dict[str, str]) -> None:
    """What saklas reads as layer i is the output of block i, counted from 0."""
    done = subprocess.run([sys.executable, "-c", HOOKING], env=saklas, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1, 3]
