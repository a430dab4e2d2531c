"""Other people's packages, laid over our environment without their dependencies, so that all share one torch."""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from steer_llama.lm.embedded import cache_folder


def overlay(requirement: str) -> Path:
    """The folder with a package (``name==version``), filled at a machine's first call; skips where it cannot be had."""
    folder = cache_folder() / "tests" / requirement.replace("==", "-")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.exists():
            _install(requirement, folder)
    return folder


def _install(requirement: str, folder: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip(f"{requirement}: uv is not installed")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".installing-") as scratch:
        target = Path(scratch) / "packages"
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(target)]
        done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"{requirement} cannot be had: {' '.join(done.stderr.split())[-300:]}")
        target.rename(folder)


def with_package(requirement: str) -> dict[str, str]:
    """The environment variables of a Python that has the package in front of ours."""
    return {**os.environ, "PYTHONPATH": str(overlay(requirement)), "OMP_NUM_THREADS": "1"}


@contextmanager
def imported(name: str, folder: Path) -> Iterator[Any]:
    """The package ``name`` from a folder, gone again afterwards."""
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for module in [module for module in sys.modules if module.split(".")[0] == name]:
            del sys.modules[module]
