"""Damaged files of every format: an error of ours each time, or still a vector; no crash, no hang, little memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steer_llama.errors import FileError
from steer_llama.vectors import FORMATS, Reading, SteeringVector, VectorFormat
from tests.vectors.formats import fuzzing
from tests.vectors.test_vector import vector

FILES = 1000
ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_damaged_files(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "tests.vectors.formats.fuzzing", name, str(FILES), "0", str(tmp_path / "x")]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}; the file is in {tmp_path}/x\n{done.stderr[-3000:]}"
    counted = json.loads(done.stdout)
    assert sum(counted.values()) == FILES
    assert set(counted) <= {"read", "FileError", "VectorError", "LayerError"}
    assert counted.get("FileError", 0) + counted.get("VectorError", 0) > FILES / 4, "hardly anything was damaged"
    assert "Warning" not in done.stderr


def reader(read: Callable[[bytes], None]) -> VectorFormat:
    """A format whose file is eight bytes, read as a fault of ours would."""

    def write(path: Path, _: SteeringVector) -> tuple[str, ...]:
        path.write_bytes(b"12345678")
        return ()

    def do(path: Path) -> Reading:
        content = path.read_bytes()
        if content != b"12345678":
            read(content)
            raise FileError(f"{path}: damaged.")
        return Reading(vector(), "faulty")

    return VectorFormat("faulty", "", ".x", "", lambda path: False, do, write)


def fail(content: bytes) -> None:
    raise IndexError


def crash(content: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS: dict[str, Callable[[bytes], None]] = {
    "raises": fail,
    "allocates": lambda content: np.empty(2**31, np.uint8).fill(0),
    "crashes": crash,
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_the_fuzzer_sees_faults(tmp_path: Path, fault: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            fuzzing.fuzz(reader(FAULTS[fault]), 20, 0, tmp_path / "x")
        except (IndexError, MemoryError):
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if fault == "crashes" else 3)
