"""Loading: the same settings are the same object, and other weights have another fingerprint."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from steer_llama.config import ModelSettings
from steer_llama.lm import embedded
from steer_llama.lm.fingerprint import fingerprint
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.lm.tokens import encode_prompt
from steer_llama.progress import SilentReporter
from tests.lm.models import save_tiny_llama


def load(where: Path | str, **settings: Any) -> LanguageModel:
    return load_model(ModelSettings(path=str(where), **{"device": "cpu", **settings}), SilentReporter())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "original")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def test_what_is_told_of_a_model(folder: Path) -> None:
    model = load(folder)
    assert (model.name, model.n_layers, model.width, model.context_length) == ("copy", 3, 32, 256)
    assert (model.dtype, model.device.type, model.hf.training) == ("float32", "cpu", False)
    assert "CPU" in model.dtype_reason
    assert not any(weight.requires_grad for weight in model.hf.parameters())
    half = load(folder, dtype="bfloat16")
    assert (half.dtype, half.dtype_reason) == ("bfloat16", "as asked")
    assert half.fingerprint == model.fingerprint


def test_the_same_settings_are_the_same_object(folder: Path) -> None:
    assert load(folder) is load(folder)
    assert load(folder) is not load(folder, dtype="bfloat16")


def test_a_copy_has_the_same_fingerprint_also_in_another_process(original: Path, folder: Path) -> None:
    model = load(original)
    assert load(folder).fingerprint == model.fingerprint
    code = (
        "import sys; from pathlib import Path; from steer_llama.lm.fingerprint import fingerprint\n"
        "class Tokenizer:\n"
        "    chat_template = sys.argv[2]\n"
        "    __len__ = lambda self: int(sys.argv[3])\n"
        "print(fingerprint(Path(sys.argv[1]), None, Tokenizer()))"
    )
    told = [str(folder), model.tokenizer.chat_template, str(len(model.tokenizer))]
    done = subprocess.run([sys.executable, "-c", code, *told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == model.fingerprint


def _change_one_middle_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.self_attn.q_proj.weight"][0, 0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _change_json(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _change_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")


@pytest.mark.parametrize(
    "change", [_change_one_middle_weight, _change_template, _change_json("config.json", rms_norm_eps=1e-4)]
)
def test_another_model_has_another_fingerprint(original: Path, folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    assert load(folder).fingerprint != load(original).fingerprint


def test_what_says_nothing_does_not_change_the_fingerprint(original: Path, folder: Path) -> None:
    _change_json("config.json", transformers_version="5.0.0", dtype="bfloat16", _name_or_path="x")(folder)
    assert load(folder, dtype="float32").fingerprint == load(original).fingerprint


def test_a_large_file_is_sampled_all_over(original: Path, folder: Path) -> None:
    """A change between the first and the last MiB, as a merged LoRA makes it."""
    tokenizer = load(original).tokenizer
    found = set()
    for value in (0.0, 1.0):
        tensors = {"a": torch.zeros(1 << 20), "b": torch.full((1 << 18,), value), "c": torch.zeros(1 << 20)}
        save_file(tensors, folder / "model.safetensors")
        found.add(fingerprint(folder, None, tokenizer))
    assert len(found) == 2


@pytest.mark.slow
def test_the_packaged_gguf_by_its_own_path(smollm2: LanguageModel, capfd: pytest.CaptureFixture[str]) -> None:
    direct = load(embedded._packaged_gguf())
    ids = torch.tensor([encode_prompt(smollm2.tokenizer, [{"role": "user", "content": "Hi 🎉"}])])
    with torch.no_grad():
        assert torch.equal(direct.hf(ids).logits, smollm2.hf(ids).logits)
    assert direct.tokenizer.chat_template == smollm2.tokenizer.chat_template
    assert "%|" not in capfd.readouterr().err, "a bar of transformers"
