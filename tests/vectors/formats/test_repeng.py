"""The real repeng 0.4 imports our file, and we read what it exports: the same layers, bit for bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steer_llama.vectors import open_vector, save_vector
from tests.packages import with_package
from tests.vectors.formats.test_gguf import FULL
from tests.vectors.test_vector import vector

pytestmark = pytest.mark.slow

REPENG = "repeng==0.4.0"

PROGRAM = """
import os
import numpy as np

np.float_ = np.float64  # repeng asks for numpy 1, which called float64 by this name too
from repeng import ControlVector

os.chdir({folder!r})
vector = ControlVector.import_gguf("ours.gguf")
np.savez("ours.npz", model_type=vector.model_type, **{{str(layer): row for layer, row in vector.directions.items()}})
(2 * vector + vector).export_gguf("tripled.gguf")

random = np.random.default_rng(5)
rows = {{layer: random.standard_normal(16).astype(np.float32) for layer in (9, 1, 28)}}
rows = {{layer: row / np.linalg.norm(row) for layer, row in rows.items()}}
np.savez("theirs.npz", **{{str(layer): row for layer, row in rows.items()}})
ControlVector("mistral", rows).export_gguf("theirs.gguf")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where repeng has imported ``ours.gguf`` and exported ``theirs.gguf`` and ``tripled.gguf``."""
    folder = tmp_path_factory.mktemp("repeng")
    assert save_vector(folder / "ours.gguf", vector(**FULL), "gguf") == ()
    command = [sys.executable, "-c", PROGRAM.format(folder=str(folder))]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=with_package(REPENG))
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "Warning" not in ran.stderr
    return folder


def test_repeng_imports_our_file(folder: Path) -> None:
    given = vector(**FULL)
    found = dict(np.load(folder / "ours.npz"))
    assert str(found.pop("model_type")) == "llama"
    assert sorted(map(int, found)) == [4, 7, 9]
    for layer in given.layers:
        assert found[str(layer)].dtype == np.float32
        assert found[str(layer)].tobytes() == given.direction_D(layer).tobytes()


def test_we_read_what_repeng_exports(folder: Path) -> None:
    given = np.load(folder / "theirs.npz")
    reading = open_vector(folder / "theirs.gguf")
    assert (reading.format, reading.notes) == ("gguf", ())
    assert (reading.vector.layers, reading.vector.model_type) == ((1, 9, 28), "mistral")
    for layer in reading.vector.layers:
        assert reading.vector.direction_D(layer).tobytes() == given[str(layer)].tobytes()


def test_what_repeng_makes_of_our_vector_is_no_longer_ours(folder: Path) -> None:
    """The evidence for a vector does not speak for a sum, and repeng drops it."""
    tripled = open_vector(folder / "tripled.gguf").vector
    assert tripled.layers == (4, 7, 9)
    np.testing.assert_allclose(tripled.directions_LD, 3 * vector().directions_LD, rtol=1e-6)
    assert tripled.evidence == {}
    assert tripled.model == ""
