"""A folder for each way's own packages, laid over our environment, so that all share one torch.

The folders stay in the user's cache; the versions are pinned (`peers.PEERS`, `generation.WAYS`).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from steer_llama.lm.embedded import cache_folder
from turns import Way

THREADS = int(os.environ.get("STEER_LLAMA_BENCHMARK_THREADS", "2"))
"""Of every process that is measured. One serves to try a script on a busy machine, where two wait for each other."""


class CannotInstallError(Exception):
    """A way's packages cannot be had; says why."""


def overlay(way: Way) -> Path | None:
    """The folder with its packages, filled at the first call; ``None`` where it needs none.

    Raises:
        CannotInstallError: uv is missing, or the packages cannot be installed.
    """
    if not way.packages:
        return None
    folder = cache_folder() / "benchmarks" / "+".join(way.packages).replace("==", "-")
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two ways may want the same packages, and they are loaded at once.
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.exists():
            _install(way.packages, folder)
    return folder


def _install(packages: tuple[str, ...], folder: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise CannotInstallError("uv is not installed")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".installing-") as scratch:
        target = Path(scratch) / "packages"
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(target)]
        done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CannotInstallError(" ".join(done.stderr.split())[-300:] or f"uv ended with {done.returncode}")
        target.rename(folder)


def surroundings(folder: Path | None) -> dict[str, str]:
    """The environment variables of a process that is measured: alike for all but the packages in front."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "KMP_", "GOMP_"))}
    ours |= {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1"}
    ours |= {"TOKENIZERS_PARALLELISM": "false"}
    if folder is not None:
        ours["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return ours
