"""The real llama.cpp that these tests run. Without one they fail: a test that skips proves nothing.

Shapes: T tokens, V vocabulary.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from steer_llama.lm.embedded import embedded_folder
from steer_llama.progress import SilentReporter

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "local-llama-cpp"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """What llama.cpp's own program made of a prompt."""

    ids_T: npt.NDArray[np.int32]
    logits_TV: Floats
    log: str


@dataclass(frozen=True)
class LlamaCpp:
    python: str
    results: str
    converter: str
    scratch: Path

    def convert(self, folder: Path) -> Path:
        """A Hugging Face folder as a float32 GGUF file, by llama.cpp's own converter (half a gigabyte for SmolLM2).

        It knows tokenizers by what they do: a folder needs one of a model that it has heard of.
        """
        out = self.scratch / f"{folder.name}.gguf"
        self._run(sys.executable, self.converter, str(folder), "--outtype", "f32", "--outfile", str(out))
        return out

    def logits(self, model: Path, ids: list[int]) -> Floats:
        """The logits after every token (T, V), by the Python binding."""
        given, out = self.scratch / "ids.npy", self.scratch / "logits.npy"
        np.save(given, np.array(ids, np.int32))
        self._run(self.python, str(Path(__file__).parent / "logits.py"), str(model), str(given), str(out))
        found: Floats = np.load(out)
        return found

    def answer(self, model: Path, prompt: str, *flags: str) -> Answer:
        """A prompt through llama-results, which takes the flags of llama-server and loads files as it does."""
        out = self.scratch / "results.gguf"
        out.unlink(missing_ok=True)
        # As in logits.py; -fit would size the context by the machine's memory.
        exact = ("-ctk", "f32", "-ctv", "f32", "-fa", "off", "-t", "1", "-c", "512", "-fit", "off")
        command = (self.results, "-m", str(model), "-p", prompt, "-o", str(out), *exact, *flags)
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr[-2000:]
        tensors = {tensor.name: np.array(tensor.data).ravel() for tensor in gguf.GGUFReader(out).tensors}
        ids_T = tensors["tokens"].astype(np.int32)
        return Answer(ids_T, tensors["logits"].reshape(len(ids_T), -1).astype(np.float32), ran.stdout + ran.stderr)

    def _run(self, *command: str) -> None:
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, f"{' '.join(command)}: {ran.stderr[-2000:]}"


@pytest.fixture(scope="session")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> LlamaCpp:
    found = {}
    for name in ("python", "results", "converter"):
        asked = subprocess.run([SCRIPT, name], check=False, capture_output=True, text=True)
        if asked.returncode != 0:
            pytest.fail(f"{asked.stderr.strip()} (these tests want a real llama.cpp)", pytrace=False)
        found[name] = asked.stdout.strip()
    return LlamaCpp(**found, scratch=tmp_path_factory.mktemp("llama-cpp"))


@pytest.fixture(scope="session")
def smollm2_gguf(llama_cpp: LlamaCpp) -> Path:
    """The embedded model's float32 weights."""
    return llama_cpp.convert(embedded_folder(SilentReporter()))
