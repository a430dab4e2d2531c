"""What cannot be loaded is refused in a sentence that names it."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from steer_llama.config import ModelSettings
from steer_llama.errors import ModelError
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


def _change(name: str, **changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def _remove(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_remove("config.json"), "holds no config.json"),
        (_remove("model.safetensors"), "its weights cannot be loaded: .*no file named model.safetensors"),
        (_remove("tokenizer.json", "tokenizer_config.json"), "its tokenizer cannot be loaded"),
        (_write("tokenizer.json", b"{}"), "its tokenizer cannot be loaded"),
        (_write("config.json", b"{"), "cannot be loaded: .*not a valid JSON"),
        (_change("config.json", model_type="nope"), "`?nope`?"),
        (_change("config.json", hidden_size="x"), "hidden_size"),
        (_change("config.json", hidden_size=30), "cannot be loaded"),
        (_change("config.json", hidden_size=64), "cannot be loaded"),
        (_change("config.json", num_hidden_layers=4), r"9 tensors are missing .* model\.layers\.3\."),
        (_write("model.safetensors", b"garbage" * 10), "its weights cannot be loaded"),
        (_cut, "its weights cannot be loaded"),
    ],
)
def test_damaged_folders(folder: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        load(folder)
    assert str(caught.value).startswith(str(folder))


@pytest.mark.parametrize("content", [b"", b"hello" * 20, b"GGUF" + bytes(20)])
def test_a_file_that_is_no_gguf(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "it.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be loaded as GGUF"):
        load(path)
    with pytest.raises(ModelError, match="is a file that is no GGUF"):
        load(path.rename(tmp_path / "it.bin"))


@pytest.mark.parametrize("where", ["/nowhere/at/all", "./nothing", "a/b/c", "missing.gguf", "~/no-such-model"])
def test_nothing_there(where: str) -> None:
    with pytest.raises(ModelError, match="no such folder or file"):
        load(where)


@pytest.mark.parametrize("where", ["somebody/some-model", "some-model", "not a name"])
def test_a_hub_id_without_a_hub(where: str) -> None:
    began = time.monotonic()
    with pytest.raises(ModelError, match=f"{where}: its tokenizer cannot be loaded"):
        load(where)
    assert time.monotonic() - began < 5


def test_no_chat_template_is_said_at_the_first_question(tmp_path: Path) -> None:
    model = load(save_tiny_llama(tmp_path / "base", template=None))
    with pytest.raises(ModelError, match="base: its tokenizer has no chat template"):
        encode_prompt(model.tokenizer, [{"role": "user", "content": "hello"}])


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("banana", "not a device"),
        ("meta", "not supported"),
        ("xpu", "not supported"),
        ("cuda:99", "no usable CUDA GPU|usable CUDA GPUs, counted from 0"),
    ],
)
def test_devices_that_are_not_there(folder: Path, device: str, said: str) -> None:
    with pytest.raises(ModelError, match=f"device '{device}'.*({said})"):
        load(folder, device=device)


def test_no_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ModelError, match="no usable CUDA GPU"):
        load(folder, device="cuda")
    assert load(folder, device="auto").device.type == "cpu"
