"""What is counted from a configuration, against figures and counters that are not ours."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations import accelerate as placement

from steer_llama.errors import ConfigError, ModelError
from steer_llama.lm import sizing
from steer_llama.lm.capture import run_blocks
from steer_llama.lm.packing import pack
from steer_llama.lm.sizing import ModelShape, Text, read_shape, shape_of
from steer_llama.lm.tokens import divergence_index, encode_answer
from steer_llama.packaged import model_config_path, packaged_models
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair
from tests.lm.models import byte_level, random_model, save_tiny_llama

# As the models' own pages give them (elements of the safetensors files; tied matrices once).
PARAMETERS = {
    "gemma-2-27b": 27_227_128_320,
    "gemma-2-9b": 9_241_705_984,
    # gemma-3-27b-it has 27,432,406,640: these, its SigLIP tower's 416,866,032 and its projector's 6,194,304.
    "gemma-3-27b": 27_432_406_640 - 416_866_032 - 6_194_304,
    "gpt2": 124_439_808,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.3-70b": 70_553_706_496,
    "mistral-7b": 7_248_023_552,
    "mixtral-8x7b": 46_702_792_704,
    "olmo-2-7b": 7_298_617_344,
    "phi-3-mini": 3_821_079_552,
    "phi-4": 14_659_507_200,
    "qwen2.5-72b": 72_706_203_648,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-32b": 32_762_123_264,
    "qwen3-8b": 8_190_735_360,
    "smollm2-1.7b": 1_711_376_384,
    "smollm2-135m": 134_515_008,
}
TIED = {"gemma-2-27b", "gemma-2-9b", "gemma-3-27b", "gpt2", "llama-3.2-1b", "llama-3.2-3b", "smollm2-1.7b"}
TIED |= {"smollm2-135m"}


def shape(name: str, **changes: Any) -> ModelShape:
    config = random_model(name).hf.config
    for key, value in changes.items():
        setattr(config, key, value)
    return shape_of(config, name)


def memory(model: ModelShape, text: Text, count: int, parallel: str = "layers") -> list[sizing.DeviceBytes]:
    return sizing.memory_of(
        model, text, count, "bfloat16", parallel=parallel, layers=model.n_layers, positions=5, token_budget=1024
    )


def test_every_packaged_model_has_a_known_total() -> None:
    assert packaged_models() == sorted(PARAMETERS)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_parameters(name: str) -> None:
    found = read_shape(name)
    assert found.parameters == PARAMETERS[name]
    assert (found.lm_head is None) == (name in TIED)
    assert found.dtype == ("float32" if name == "gpt2" else "bfloat16")


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "gemma3", "mixtral", "phi3", "gpt_neox", "cohere"])
def test_parameters_are_those_of_the_real_object(name: str) -> None:
    model = random_model(name)
    real = sum({id(weight): weight.numel() for weight in model.hf.parameters()}.values())
    found = shape_of(model.hf.config, name)
    assert found.parameters == real
    assert [block.parameters for block in found.blocks] == [sum(map(torch.numel, b.parameters())) for b in model.blocks]


def test_the_embedded_model_has_its_packaged_shape() -> None:
    assert read_shape("smollm2").blocks == read_shape("smollm2-135m").blocks


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "gemma3_text", "phi3", "gpt_neox", "olmo2"])
def test_operations_are_those_that_torch_counts(name: str) -> None:
    model = random_model(name)
    model.hf.set_attn_implementation("eager")
    tokens = 7
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        run_blocks(model, torch.arange(tokens)[None])
    found = shape_of(model.hf.config, name)
    # Eager attention computes the masked scores too, so every token sees all of them.
    text = Text(1, tokens, tokens, tokens, tokens * tokens, tokens, "")
    rotation = _rotary_flops(counter)
    assert sizing.work_of(found, text, found.n_layers - 1).flops == counter.get_total_flops() - rotation


def _rotary_flops(counter: FlopCounterMode) -> int:
    """Products that turn positions into angles, which stand outside the blocks."""
    return sum(
        sum(operations.values()) for name, operations in counter.get_flop_counts().items() if "rotary" in name.lower()
    )


def test_of_the_experts_only_the_active_ones_count() -> None:
    found = read_shape("mixtral-8x7b")
    attention = 4096 * (4096 + 1024 + 1024 + 4096)
    router, expert = 8 * 4096, 3 * 4096 * 14336
    assert found.experts == (2, 8)
    assert {block.active for block in found.blocks} == {attention + router + 2 * expert}
    assert {block.parameters for block in found.blocks} == {attention + router + 8 * expert + 2 * 4096}
    assert found.mlp_width == 2 * 14336
    many = read_shape("qwen3-30b-a3b")
    assert many.mlp_width == 8 * 768
    # Qwen calls it "3.3B activated"; the embeddings are looked up, not multiplied with.
    assert many.lm_head is not None
    assert sum(block.active for block in many.blocks) + many.lm_head.parameters == pytest.approx(3.0e9, rel=0.03)


def test_nothing_above_the_deepest_layer_counts() -> None:
    text, found = sizing.uniform_text(3, 4, 5), read_shape("llama-3.1-8b")
    half, whole = sizing.work_of(found, text, 15), sizing.work_of(found, text, 31)
    assert (half.blocks, half.flops * 2) == (16, whole.flops)


def test_tokens_by_hand() -> None:
    text = sizing.uniform_text(10, 3, 2)
    assert (text.computed, text.conversations, text.response, text.longest) == (70, 100, 40, 7)
    # A prompt's tokens see 1, 2, 3; each answer's 4, 5.
    assert text.context == 10 * (6 + 9 + 9)


def test_tokens_of_real_pairs_are_the_engine_s() -> None:
    tokenizer = byte_level()
    pairs = [
        Pair(prompt=({"role": "user", "content": "hello"},), chosen="the fox jumps", rejected="the dog", name="a"),
        Pair(prompt=({"role": "user", "content": "b"},), chosen="so", rejected="quick brown", name="b"),
    ]
    encoded = [
        [encode_answer(tokenizer, pair.prompt, answer).ids for answer in (pair.chosen, pair.rejected)] for pair in pairs
    ]
    text = sizing.text_of_pairs(pairs, tokenizer)
    assert text.computed == sum(len(pack([_array(ids) for ids in arms]).ids_R) for arms in encoded)
    assert text.conversations == sum(len(ids) for arms in encoded for ids in arms)
    assert text.response == sum(len(ids) - divergence_index(*arms) for arms in encoded for ids in arms)


def _array(ids: tuple[int, ...]) -> Any:
    return torch.tensor(ids, dtype=torch.int32).numpy()


def test_without_a_tokenizer_the_characters_are_counted() -> None:
    prompt = ({"role": "user", "content": "x" * 40},)
    same = Pair(prompt=prompt, chosen="y" * 80, rejected="z" * 120, name="")
    text = sizing.text_of_pairs([same], None)
    assert (text.computed, text.response) == (20 + 10 + 20 + 30, 50)
    other = same.model_copy(update={"rejected_prompt": prompt})
    assert sizing.text_of_pairs([other], None).computed == 2 * (20 + 10) + 50  # nothing may be taken for shared
    assert "estimated" in text.origin


def test_bytes_by_hand() -> None:
    found = read_shape("llama-3.3-70b")
    (one,) = memory(found, sizing.uniform_text(1000, 40, 170), 1)
    assert one.weights == 141_107_412_992
    assert one.keys_values == 1024 * 2 * 8 * 128 * 2 * 80
    assert one.activations == 1024 * (8192 * 8 + 4 * 28672 * 2)
    assert one.sums == 3 * 2 * 5 * 80 * 8192 * 4
    assert one.total == one.weights + one.keys_values + one.activations + one.sums + one.margin


def test_a_long_pair_keeps_its_keys() -> None:
    (one,) = memory(read_shape("gpt2"), sizing.uniform_text(1, 1000, 2000), 1)
    assert one.keys_values == 5000 * 2 * 768 * 2 * 12


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("name", ["llama-3.3-70b", "gemma-2-9b", "mixtral-8x7b", "gpt2"])
def test_layers_are_spread_as_transformers_spreads_them(name: str, count: int) -> None:
    found, text = read_shape(name), sizing.uniform_text(10, 40, 170)
    parts = memory(found, text, count)
    assert sum(part.weights for part in parts) == 2 * found.parameters
    assert sum(part.blocks for part in parts) == found.n_layers
    # We count the few values of the last norm on the first device.
    small = 2 * found.rest.parameters
    assert [part.weights for part in parts] == pytest.approx(_placed(name, count), abs=small)


def _placed(name: str, count: int) -> list[int]:
    """Bytes of bfloat16 weights on every device, by transformers' own placement."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_config_path(name)), dtype="bfloat16")
    split = model._no_split_modules
    plenty = dict.fromkeys(range(count), 200 * 2**30)
    room = placement.get_balanced_memory(model, max_memory=plenty, no_split_module_classes=split)
    devices = placement.infer_auto_device_map(model, max_memory=room, no_split_module_classes=split)
    held = [0] * count
    for weight, device in (
        (weight, device)
        for weight_name, weight in model.named_parameters()
        for module, device in devices.items()
        if f"{weight_name}.".startswith(f"{module}." if module else "")
    ):
        held[device] += weight.nbytes
    return held


def test_tensor_parallel_divides_what_transformers_divides() -> None:
    found, text = read_shape("llama-3.1-8b"), sizing.uniform_text(10, 40, 170)
    one, eight = memory(found, text, 1)[0], memory(found, text, 8, "tensor")
    norms = 65 * 4096
    assert {part.weights for part in eight} == {2 * ((found.parameters - norms) // 8 + norms)}
    assert eight[0].keys_values == one.keys_values // 8
    assert sizing.possible_counts(found, "tensor") == [1, 2, 4, 8]
    with pytest.raises(ConfigError, match=r"3 GPUs cannot divide the 8 key-value heads .* Use 1, 2, 4, 8"):
        memory(found, text, 3, "tensor")
    with pytest.raises(ConfigError, match="no tensor-parallel plan for gpt2"):
        memory(read_shape("gpt2"), text, 2, "tensor")


def test_the_fewest_gpus() -> None:
    found, text = read_shape("llama-3.3-70b"), sizing.uniform_text(1000, 40, 170)

    def fewest(gpu: str, parallel: str = "layers") -> int | None:
        return sizing.smallest_count(
            found, text, sizing.GPUS[gpu], "bfloat16", parallel=parallel, layers=80, positions=5, token_budget=1024
        )

    assert (fewest("H100"), fewest("H200"), fewest("B200")) == (2, 1, 1)
    # 12 of 80 blocks take 19.1 GiB of an L4's 22.0, 14 (on six) would take 22.3.
    assert (fewest("L4"), fewest("L4", "tensor")) == (7, 8)
    assert fewest("T4", "tensor") is None
    count = fewest("T4")
    assert count is not None
    assert max(part.total for part in memory(found, text, count)) <= 14.5 * 2**30
    assert max(part.total for part in memory(found, text, count - 1)) > 14.5 * 2**30


def test_gpus_give_speed_only_together() -> None:
    found, text, gpu = read_shape("llama-3.1-8b"), sizing.uniform_text(1000, 40, 170), sizing.GPUS["H100"]
    work = sizing.work_of(found, text, 31)

    def seconds(together: int, dtype: str = "bfloat16") -> sizing.Seconds:
        return sizing.time_of(
            found, text, work, 2 * 10**9, gpu, dtype, together=together, mfu=0.5, token_budget=1024, disk=2.0
        )

    one, four = seconds(1), seconds(4)
    assert one.arithmetic == pytest.approx(work.flops / (989e12 * 0.5))
    assert four.arithmetic == pytest.approx(one.arithmetic / 4)
    assert one.exchange == 0
    assert four.exchange == pytest.approx(2 * 32 * 380_000 * 4096 * 2 * 2 * 3 / 4 / 450e9)
    assert one.write == 1.0
    assert one.load == pytest.approx(8_030_261_248 / 1e9)
    blocks = sum(block.parameters for block in found.blocks)
    assert one.weights == pytest.approx(372 * 2 * blocks / 3350e9)
    assert one.total == pytest.approx(max(one.arithmetic, one.weights) + one.load + one.write)
    assert seconds(1, "float32").arithmetic == pytest.approx(one.arithmetic * 989 / 67)


@pytest.mark.parametrize(
    ("text", "found"),
    [("8xH100", (8, "H100")), ("h100", (1, "H100")), ("2 × a100-80gb", (2, "A100-80")), ("CPU", (1, "cpu")),
     ("4*rtx 4090", (4, "RTX-4090")), ("H100 PCIe", (1, "H100-PCIe"))],
)  # fmt: skip
def test_how_gpus_are_written(text: str, found: tuple[int, str]) -> None:
    assert sizing.parse_gpus(text) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("8xH10", "Did you mean H100 or H100-PCIe"),
        ("A100", "Did you mean A100-40 or A100-80"),
        ("8xTPU", "there is no figure for 'TPU'.*Known: A100-40"),
        ("0xT4", "expected one GPU or more"),
        ("2xcpu", "counted once"),
        ("", "expected a count and a GPU"),
    ],
)
def test_gpus_that_there_are_not(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        sizing.parse_gpus(text)


def test_no_units_for_the_type() -> None:
    with pytest.raises(ConfigError, match=r"T4 has no units for bfloat16\. Use --dtype float16"):
        sizing.GPUS["T4"].tflops("bfloat16")


def test_this_machine_s_speed_is_measured() -> None:
    speed = sizing.measured_tflops("float32", 64, 128, 128, seconds=0.05)
    assert 1e-4 < speed < 1e3
    assert sizing.this_cpu("float32", speed).tflops("float32") == speed


def test_folders_and_files(tmp_path: Path) -> None:
    folder = save_tiny_llama(tmp_path / "tiny")
    for where in (folder, folder / "config.json"):
        found = read_shape(str(where))
        assert (found.n_layers, found.width, found.kv_heads, found.head_dim) == (3, 32, 2, 8)
    assert sizing.tokenizer_of(str(folder), SilentReporter()) is not None
    assert sizing.tokenizer_of("llama-3.3-70b", SilentReporter()) is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        read_shape(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "configuration cannot be read"), ('{"model_type": "nonsense"}', "configuration cannot be read"),
     (json.dumps({"model_type": "clip"}), "no model can be built from its config.json")],
)  # fmt: skip
def test_configurations_of_nothing(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=told):
        read_shape(str(tmp_path))


def test_a_hub_id_without_a_network_names_what_is_here() -> None:
    with pytest.raises(ModelError, match=r"cannot be fetched .* Did you mean llama-3.3-70b\? .* gpt2, llama-3.1-8b"):
        read_shape("meta-llama/Llama-3.3-70B-Instruct")


def test_a_name_that_is_no_model() -> None:
    with pytest.raises(ModelError, match=r"no such folder, file or packaged model. Did you mean gemma-2-9b\?"):
        read_shape("gemma-2-9")
