"""What is chosen for the machine, and the reasons given."""

import shutil
from pathlib import Path

import pytest
import torch

from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.lm import machine_memory
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.packing import Blocks, ModelCode
from steer_llama.lm.reading import Conversation, PackedReader, Pooled, Wanted, budget, local, open_reader, precision
from steer_llama.lm.reading.alone import AloneReader
from steer_llama.progress import SilentReporter
from tests.lm.models import random_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEER_LLAMA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_budget_is_measured_once_for_a_machine(
    tiny_llama: LanguageModel, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = budget.choose_budget(tiny_llama, ModelCode(tiny_llama), keeps_tokens=False, n_layers=3)
    assert first.tokens in (512, 1024, 2048)
    assert "best speed measured here" in first.reason
    assert (own_cache / "speed.json").is_file()
    monkeypatch.setattr(budget, "_speed", lambda *_: pytest.fail("measured twice"))
    assert budget.choose_budget(tiny_llama, ModelCode(tiny_llama), keeps_tokens=False, n_layers=3) == first


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"x": 3}', "\0"])
def test_a_damaged_cache_is_measured_anew(tiny_llama: LanguageModel, own_cache: Path, content: str) -> None:
    own_cache.mkdir()
    (own_cache / "speed.json").write_text(content)
    assert budget.choose_budget(tiny_llama, ModelCode(tiny_llama), keeps_tokens=False, n_layers=3).tokens in (
        512,
        1024,
        2048,
    )


def test_the_smallest_budget_that_is_fast_enough(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {512: 80.0, 1024: 96.0, 2048: 100.0}
    monkeypatch.setattr(budget, "_speed", lambda _model, _blocks, tokens: speeds[tokens])
    assert budget.choose_budget(tiny_llama, ModelCode(tiny_llama), keeps_tokens=False, n_layers=3).tokens == 1024


def test_single_tokens_and_memory_limit_the_budget(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_TOKENS_AT_ONCE", 400 * 3 * 32 * 4)
    chosen = budget.choose_budget(tiny_llama, ModelCode(tiny_llama), keeps_tokens=True, n_layers=3)
    assert chosen.tokens == 400
    assert "wait for the disk" in chosen.reason
    monkeypatch.setattr(budget, "total_bytes", lambda: 4_096_000)
    chosen = budget.choose_budget(tiny_llama, ModelCode(tiny_llama), keeps_tokens=False, n_layers=3)
    assert chosen.tokens == 256
    assert "memory" in chosen.reason


def test_float32_where_the_cpu_has_nothing_faster(smollm2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    chosen = precision.in_faster_type(smollm2)
    assert (chosen.dtype, chosen.hf) == ("float32", smollm2.hf)
    assert "no instructions for bfloat16" in chosen.dtype_reason


def test_bfloat16_where_it_is_faster_and_its_error_is_told(
    smollm2: LanguageModel, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    times = {"float32": 1.0, "bfloat16": 0.5}
    monkeypatch.setattr(precision, "_seconds", lambda model: times[model.dtype])
    chosen = precision.in_faster_type(smollm2)
    assert chosen.dtype == "bfloat16"
    assert "2.0 times as fast" in chosen.dtype_reason
    error = precision.vector_error(chosen, smollm2)
    assert 1e-4 < error < 0.02
    assert f"{error:.2%}" in chosen.dtype_reason
    assert smollm2.hf.dtype == torch.float32
    monkeypatch.setattr(precision, "_ALLOWED", error / 2)
    assert "% off" in precision.in_faster_type(smollm2).dtype_reason
    times["bfloat16"] = 0.9
    # The speed is measured once for a machine: a run that goes on later must not choose otherwise.
    assert "% off" in precision.in_faster_type(smollm2).dtype_reason
    shutil.rmtree(own_cache)
    assert "1.11 times as fast" in precision.in_faster_type(smollm2).dtype_reason
    monkeypatch.setattr(precision, "available_bytes", lambda: 1)
    assert "too few to hold" in precision.in_faster_type(smollm2).dtype_reason


def test_what_is_asked_for_is_what_is_done(tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "load_model", lambda *_: tiny_llama)
    monkeypatch.setattr(local, "in_faster_type", lambda _: pytest.fail("float32 was asked for"))
    settings = ModelSettings(path="anything", dtype="float32")
    reader = open_reader(settings, ExtractSettings(token_budget=77), SilentReporter())
    assert isinstance(reader, PackedReader)
    assert (reader.token_budget, reader.budget_reason) == (77, "as asked")


def test_a_model_that_cannot_be_packed_is_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "load_model", lambda *_: random_model("llama4_text"))
    reader = open_reader(ModelSettings(path="x", dtype="float32"), ExtractSettings(), SilentReporter())
    assert isinstance(reader, AloneReader)


def test_a_budget_that_memory_forbids_is_not_even_timed(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[int] = []

    def speed(_model: LanguageModel, _blocks: Blocks, tokens: int) -> float:
        timed.append(tokens)
        return 1.0

    monkeypatch.setattr(budget, "_speed", speed)
    monkeypatch.setattr(budget, "_memory_limit", lambda _model: {1100: "of memory"})
    assert budget.choose_budget(tiny_llama, ModelCode(tiny_llama), keeps_tokens=False, n_layers=3).tokens == 512
    assert set(timed) == {512, 1024}


def test_a_budget_that_runs_out_of_memory_is_not_taken(
    tiny_llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = PackedReader.read

    def full(self: PackedReader, conversations: list[Conversation], wanted: Wanted) -> list[Pooled]:
        if len(conversations) > 5:
            raise torch.OutOfMemoryError
        return read(self, conversations, wanted)

    monkeypatch.setattr(PackedReader, "read", full)
    assert budget.choose_budget(tiny_llama, ModelCode(tiny_llama), keeps_tokens=False, n_layers=3).tokens in (512, 1024)


def test_quantised_weights_keep_their_type(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("llama")
    model.hf.is_quantized = True
    monkeypatch.setattr(precision, "has_bfloat16", lambda: pytest.fail("not even asked"))
    assert precision.in_faster_type(model) is model


def test_an_error_that_is_no_number_is_no_small_one(smollm2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "_seconds", lambda model: {"float32": 1.0, "bfloat16": 0.5}[model.dtype])
    monkeypatch.setattr(precision, "vector_error", lambda *_: float("nan"))
    assert precision.in_faster_type(smollm2).dtype == "float32"


def test_a_container_may_have_less_memory_than_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, limit, used = machine_memory.total_bytes(), tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(machine_memory, "_LIMITS", (tmp_path / "absent", limit))
    monkeypatch.setattr(machine_memory, "_USED", (used,))
    limit.write_text("max\n")
    assert machine_memory.total_bytes() == whole
    limit.write_text("5000000\n")
    used.write_text("2000000\n")
    assert (machine_memory.total_bytes(), machine_memory.available_bytes()) == (5_000_000, 3_000_000)
    used.write_text("7000000\n")
    assert machine_memory.available_bytes() == 0
