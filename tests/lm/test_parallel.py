"""Tensor parallelism: two real processes under torchrun write what one process writes."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.lm.models import save_tiny_llama


def extract(folder: Path, out: Path, launcher: list[str]) -> str:
    command = [*launcher, "-m", "steer_llama", "extract", "--pairs", str(folder / "pairs.json"), "--device", "cpu"]
    command += ["--chosen-field", "a_response", "--rejected-field", "b_response", "-m", str(folder), "-o", str(out)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=150)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the launcher's children too
    assert process.returncode == 0, said
    return said


@pytest.mark.slow
def test_two_processes_read_what_one_reads(tmp_path: Path) -> None:
    save_tiny_llama(tmp_path)
    pairs = {
        f"Question {number}?": {"a_response": f"Sure 😀 hello world {number}", "b_response": "That is possible."}
        for number in range(7)
    }
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = extract(tmp_path, tmp_path / "two.h5", launcher)
    assert "in slices over 2 processes" in said.replace("\n", " ")
    extract(tmp_path, tmp_path / "one.h5", [sys.executable])
    with h5py.File(tmp_path / "two.h5") as two, h5py.File(tmp_path / "one.h5") as one:
        for positions in one["means"]:
            for arm in ("chosen", "rejected"):
                found, expected = (file[f"means/{positions}/{arm}"][:] for file in (two, one))
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        assert np.abs(one["means/response/chosen"][:]).max() > 0.1
