"""The worker, its pipe and its errors, with a stand-in for vLLM (tests/vllm has the real one)."""

import io
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.errors import ConfigError, ModelError
from steer_llama.lm import embedded
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import Conversation, Reader, Wanted, open_reader
from steer_llama.lm.reading.vllm_process import interpreter
from steer_llama.lm.reading.vllm_process.interpreter import VARIABLE, find_python
from steer_llama.lm.reading.vllm_process.worker.frames import Array, receive, send
from steer_llama.progress import SilentReporter
from tests.lm.fake_vllm.vllm import CACHED, DEAD, KILLED, NO_ACTIVATIONS
from tests.lm.models import save_tiny_llama

FAKE = Path(__file__).parent / "fake_vllm"
IDS = np.array([5, 9, 33, 7, 41, 12, 3, 60, 28, 17, 11, 50], np.int32)


def python_with(modules: Path, folder: Path) -> Path:
    """A program that is our Python with ``modules`` in its search path, as vLLM's environment has its own."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={modules} exec {sys.executable} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_llama(tmp_path / "tiny")


@pytest.fixture(autouse=True)
def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = python_with(FAKE, tmp_path)
    monkeypatch.setenv(VARIABLE, str(program))
    monkeypatch.setenv("PYTHONPATH", "/of/our/own")
    return program


def opened(path: Path | str, **settings: object) -> Reader:
    model = ModelSettings.model_validate({"path": str(path), "device": "cpu", **settings})
    return open_reader(model, ExtractSettings(backend="vllm"), SilentReporter())


def conversation(ids: np.ndarray = IDS) -> Conversation:
    position = np.arange(len(ids))
    return Conversation(ids, np.stack([position >= 4, position == 7, position < 0]))


def test_means_norms_and_tokens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_LENS_DISABLE", "1")  # somebody's server wants it; we do not
    reader = opened(folder)
    group = [conversation(), conversation(IDS[:9])]
    assert reader.batches([group]).groups == ((0,),)
    wanted = Wanted((0, 2), tokens=True)
    for asked, pooled in zip(group, reader.read(group, wanted), strict=True):
        value_LT = 1000 * np.array([[0], [2]]) + np.arange(len(asked.ids_T)) + asked.ids_T / 100
        for p, mask_T in enumerate(asked.masks_PT):
            expected_L = value_LT[:, mask_T].mean(axis=1) if mask_T.any() else np.zeros(2)
            np.testing.assert_allclose(pooled.mean_PLD[p, :, 0], expected_L, rtol=1e-6)
            np.testing.assert_allclose(pooled.mean_PLD[p, :, 1], -expected_L / 2, rtol=1e-6)
        first_T = asked.masks_PT[0]
        np.testing.assert_allclose(pooled.norm_L, value_LT[:, first_T].mean(axis=1) * 1.25**0.5, rtol=1e-6)
        assert pooled.tokens_LTD is not None
        np.testing.assert_allclose(pooled.tokens_LTD[..., 0].numpy(), value_LT[:, first_T], rtol=1e-6)
        assert pooled.mean_PLD.shape == (3, 2, 32)
    again = reader.read(group[:1], Wanted((1,)))[0]
    assert again.tokens_LTD is None
    np.testing.assert_allclose(again.mean_PLD[1, 0, 0], 1000 + 7 + IDS[7] / 100, rtol=1e-6)
    reader.close()
    reader.close()


def test_bfloat16_arrives_bit_by_bit(folder: Path) -> None:
    reader = opened(folder, dtype="bfloat16")
    pooled = reader.read([conversation()], Wanted((1,), tokens=True))[0]
    reader.close()
    expected = (1000 + torch.arange(4, 12) + torch.from_numpy(IDS[4:]) / 100).to(torch.bfloat16)
    assert pooled.tokens_LTD is not None
    assert torch.equal(pooled.tokens_LTD[0, :, 0], expected)


def test_it_describes_the_model_as_the_default_backend_does(folder: Path, tiny_llama: LanguageModel) -> None:
    reader, default = (
        open_reader(ModelSettings(path=str(folder), device="cpu"), ExtractSettings(backend=backend), SilentReporter())
        for backend in ("vllm", "transformers")
    )
    for fact in ("name", "fingerprint", "dtype", "n_layers", "width"):
        assert getattr(reader, fact) == getattr(default, fact), fact
    assert reader.context_length == 255  # vLLM wants room for one more
    assert reader.tokenizer.chat_template == default.tokenizer.chat_template


def test_batches_keep_the_order_and_the_budget(folder: Path) -> None:
    groups = [[conversation(IDS[:length])] for length in (5, 6, 12, 3, 3, 9)]
    reader = opened(folder)
    assert reader.batches(groups, 12).groups == ((0, 1), (2,), (3, 4), (5,))
    assert reader.batches(groups, 1).groups == tuple((number,) for number in range(6))
    assert reader.batches(groups, None).groups == (tuple(range(6)),)


def beginning_with(token: int) -> Conversation:
    return conversation(np.array([token, *IDS[1:]], np.int32))


def test_what_goes_wrong_in_the_worker_is_said_and_it_lives_on(folder: Path) -> None:
    reader = opened(folder)
    reader.batches([[conversation()]])
    wanted = Wanted((0,))
    with pytest.raises(ModelError, match="returned no activations: its plugin vllm-lens was not loaded"):
        reader.read([beginning_with(NO_ACTIVATIONS)], wanted)
    with pytest.raises(ModelError, match="returned 1 layers of 9 tokens, asked for 1 of 12"):
        reader.read([beginning_with(CACHED)], wanted)
    with pytest.raises(ModelError, match=r"prompt \(length 13\) is longer than 12"):
        reader.read([conversation(np.arange(13, dtype=np.int32))], wanted)
    assert reader.read([conversation()], wanted)[0].mean_PLD.shape == (3, 1, 32)
    with pytest.raises(ModelError, match=r"ended with code 1\. Its last lines:(.|\n)*the engine core has died"):
        reader.read([beginning_with(DEAD)], wanted)
    reader.close()


def test_a_worker_that_is_killed(folder: Path) -> None:
    reader = opened(folder)
    with pytest.raises(ModelError, match=r"ended by signal 9 .*memory runs out"):
        reader.read([beginning_with(KILLED)], Wanted((0,)))
    reader.close()


def test_a_model_that_vllm_refuses(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"Model architectures \['Unheard'\] are not supported for now"):
        opened(folder, dtype="float16").read([conversation()], Wanted((0,)))


def test_vllm_lens_is_missing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(FAKE / "vllm", alone / "vllm")
    monkeypatch.setenv(VARIABLE, str(python_with(alone, tmp_path)))
    with pytest.raises(ModelError, match="cannot import what it takes: No module named 'vllm_lens'"):
        opened(folder).read([conversation()], Wanted((0,)))


def test_another_device_than_vllm_has(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steer_llama.lm.reading.vllm_process.reader.choose_device", lambda *_: "cuda")
    with pytest.raises(ModelError, match="device 'cuda' is asked for, and this vLLM runs on 'cpu'"):
        opened(folder, device="cuda:0", dtype="float32").read([conversation()], Wanted((0,)))


def test_what_cannot_be_read_through_vllm(folder: Path, tmp_path: Path) -> None:
    gguf = tmp_path / "it.gguf"
    gguf.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="a GGUF file is not read through vLLM"):
        opened(gguf)
    with pytest.raises(ConfigError, match="only --backend vllm can read"):
        open_reader(ModelSettings(path="http://127.0.0.1:1/v1"), ExtractSettings(), SilentReporter())
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="its tokenizer or its configuration cannot be read"):
        opened(folder)


def test_where_vllm_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(ModelError, match="which is no program"):
        find_python()
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(interpreter, "cache_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"no vLLM was found.*scripts/local-vllm install"):
        find_python()
    home = tmp_path / "vllm-cpu-0.9.0"
    (home / "env" / "bin").mkdir(parents=True)
    (home / "env" / "bin" / "python").symlink_to(sys.executable)
    (home / "installed").write_text("vllm-cpu 0.9.0, torch 2.0", encoding="utf-8")
    with pytest.raises(ModelError, match="holds vLLM without vllm-lens"):
        find_python()
    newer = tmp_path / "vllm-cpu-0.10.0"
    shutil.copytree(home, newer, symlinks=True)
    for folder in (home, newer):
        (folder / "installed").write_text("vllm-cpu, vllm-lens 1.3.0", encoding="utf-8")
    assert find_python() == newer / "env" / "bin" / "python"


def test_the_script_and_the_reader_agree_on_the_place(tmp_path: Path) -> None:
    script = (Path(__file__).parent.parent.parent / "scripts" / "local-vllm").read_text(encoding="utf-8")
    assert '/vllm-cpu-$VLLM"' in script
    assert 'installed="$home/installed"' in script
    assert 'env="$home/env"' in script
    assert embedded.cache_folder().name == "steer-llama" or "STEER_LLAMA_CACHE" in os.environ


def test_messages_survive_the_pipe() -> None:
    arrays: list[Array] = [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.zeros((0, 4), np.float32),
        np.array([True, False]),
    ]
    pipe = io.BytesIO()
    send(pipe, {"what": "ü\n"}, arrays)
    whole = pipe.getvalue()
    told, found = receive(io.BytesIO(whole))
    assert told == {"what": "ü\n"}
    for mine, theirs in zip(found, arrays, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    for cut in (0, 5, len(whole) - 1):
        with pytest.raises(EOFError):
            receive(io.BytesIO(whole[:cut]))
