"""The plan as a whole, and its file beside the one that `extract` writes."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from steer_llama.config import DEFAULT_POSITIONS, ExtractSettings, ModelSettings
from steer_llama.errors import ConfigError, FileError, LayerError, ModelError
from steer_llama.progress import SilentReporter
from steer_llama.stages.conversations import PairsFile
from steer_llama.stages.extract import extract
from steer_llama.stages.plan import CPU_MFU, GPU_MFU, Asked, Plan, plan
from tests.activations import tiny
from tests.lm.models import save_tiny_llama

SEVENTY = Asked("llama-3.3-70b", "8xH100")


def planned(asked: Asked) -> Plan:
    return plan(asked, SilentReporter())


def test_llama_on_eight_gpus() -> None:
    found = planned(SEVENTY)
    assert (found.fits, found.smallest_count, found.dtype) == (True, 2, "bfloat16")
    assert (found.mfu, found.mfu_reason) == (GPU_MFU, "assumed, not measured")
    assert sum(part.weights for part in found.memory) == 141_107_412_992
    assert found.file.total == 1000 * 2 * 80 * (len(DEFAULT_POSITIONS) * 8192 + 1) * 4
    assert found.seconds.arithmetic == pytest.approx(found.work.flops / (989e12 * 0.45))


def test_the_number_of_gpus_gives_speed_only_with_tensor() -> None:
    one, eight, tensor = (
        planned(asked) for asked in (replace(SEVENTY, gpus="H100"), SEVENTY, replace(SEVENTY, parallel="tensor"))
    )
    assert one.seconds == eight.seconds
    assert (one.fits, eight.fits) == (False, True)
    assert tensor.seconds.arithmetic == pytest.approx(eight.seconds.arithmetic / 8)
    assert tensor.seconds.exchange > 0


def test_what_does_not_fit_says_what_would() -> None:
    found = planned(replace(SEVENTY, gpus="4xL4"))
    assert (found.fits, found.smallest_count) == (False, 7)
    assert planned(replace(SEVENTY, gpus="7xL4")).fits
    assert not planned(replace(SEVENTY, gpus="6xL4")).fits
    assert planned(replace(SEVENTY, gpus="8xT4", parallel="tensor")).smallest_count is None


def test_layers_make_the_file_and_the_work_smaller() -> None:
    whole, half = planned(SEVENTY), planned(replace(SEVENTY, layers=(39, 10, 10)))
    assert half.layers == 2
    assert half.work.flops * 2 == whole.work.flops
    assert half.file.total * 40 == whole.file.total
    assert half.fullest.weights == whole.fullest.weights  # they are loaded all the same
    with pytest.raises(LayerError, match=r"there is no layer 80: llama-3\.3-70b has 80 layers, 0 to 79"):
        planned(replace(SEVENTY, layers=(80,)))


def test_types() -> None:
    assert planned(Asked("gpt2", "T4")).dtype == "float32"
    old = planned(Asked("llama-3.2-1b", "T4"))
    assert old.dtype == "float16"
    assert "--dtype float16" in old.dtype_reason
    with pytest.raises(ConfigError, match="T4 has no units for bfloat16"):
        planned(Asked("llama-3.2-1b", "T4", dtype="bfloat16"))
    double = planned(replace(SEVENTY, dtype="float32"))
    assert sum(part.weights for part in double.memory) == 4 * double.shape.parameters


def test_quantised_weights_are_said_not_to_be_counted(tmp_path: Path) -> None:
    config = save_tiny_llama(tmp_path) / "config.json"
    plain = planned(Asked(str(tmp_path), "T4"))
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    )
    found = planned(Asked(str(tmp_path), "T4"))
    assert "its gptq quantisation is not counted" in found.dtype_reason
    assert found.fullest.weights == plain.fullest.weights


def test_this_machine() -> None:
    found = planned(Asked("smollm2", "cpu", pairs=10, tflops=0.2))
    assert (found.dtype, found.mfu, found.count) == ("float32", CPU_MFU, 1)
    assert found.seconds.weights == 0
    assert found.seconds.arithmetic == pytest.approx(found.work.flops / (0.2e12 * CPU_MFU))
    measured = planned(Asked("smollm2", "cpu", pairs=10, token_budget=64))
    assert measured.tflops_reason.startswith("measured now")
    assert measured.tflops > 0


def test_other_peaks() -> None:
    found = planned(replace(SEVENTY, tflops=500, mfu=0.5))
    assert (found.tflops, found.tflops_reason, found.mfu_reason) == (500, "as asked", "as asked")
    assert found.seconds.arithmetic == pytest.approx(found.work.flops / 250e12)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (replace(SEVENTY, pairs=0), "--pairs 0: expected 1 or more"),
        (replace(SEVENTY, token_budget=0), "--token-budget 0"),
        (replace(SEVENTY, mfu=1.5), "--mfu 1.5: expected a share"),
        (replace(SEVENTY, tflops=0), "--tflops 0"),
        (replace(SEVENTY, disk=-1), "--disk -1"),
        (replace(SEVENTY, layers=()), "--layers names none"),
        (replace(SEVENTY, gpus="8xH10"), "Did you mean H100"),
        (replace(SEVENTY, gpus="3xH100", parallel="tensor"), "3 GPUs cannot divide the 8 key-value heads"),
        (replace(SEVENTY, positions=("smile",)), "positions 'smile': unknown"),
    ],
)
def test_wrong_input(changed: Asked, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        planned(changed)


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    entries = {each.name: {"pi_response": each.chosen, "llama_response": each.rejected} for each in tiny.pairs(6)}
    (tmp_path / "filtered.json").write_text(json.dumps(entries), encoding="utf-8")
    return tmp_path / "filtered.json"


@pytest.mark.parametrize("tokens", [False, True])
def test_the_file_is_as_large_as_the_one_that_is_written(pairs_file: Path, tmp_path: Path, tokens: bool) -> None:
    folder = tiny.build(tmp_path / "model")
    settings = ExtractSettings(tokens=tokens)
    model = ModelSettings(path=str(folder), device="cpu")
    extract(PairsFile(pairs_file), model, settings, tmp_path / "a.h5", SilentReporter())
    found = planned(Asked(str(folder), "cpu", pairs_file=pairs_file, tokens=tokens, tflops=0.1))
    assert (found.text.pairs, found.text.origin) == (6, "counted with the model's tokenizer")
    with h5py.File(tmp_path / "a.h5", "r") as file:
        sizes: dict[str, int] = {}
        file.visititems(lambda name, item: sizes.update({name: item.nbytes} if isinstance(item, h5py.Dataset) else {}))
    arms = ("chosen", "rejected")
    assert found.file.means == sum(sizes[f"means/{name}/{arm}"] for name in DEFAULT_POSITIONS for arm in arms)
    assert found.file.norms == sum(sizes[f"residual_norm/{arm}"] for arm in arms)
    assert found.file.tokens == sum(sizes.get(f"tokens/{arm}/values", 0) for arm in arms)
    assert bool(found.file.tokens) == tokens
    assert 0 < (tmp_path / "a.h5").stat().st_size - found.file.total < 50_000


def test_pairs_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.json"):
        planned(replace(SEVENTY, pairs_file=tmp_path / "none.json"))
    with pytest.raises(ModelError, match="no such folder"):
        planned(replace(SEVENTY, model="nonsense"))


def test_pairs_without_a_tokenizer_are_estimated(pairs_file: Path) -> None:
    found = planned(replace(SEVENTY, pairs_file=pairs_file))
    assert found.text.pairs == 6
    assert found.text.origin.startswith("estimated")
