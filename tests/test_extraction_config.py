"""The configuration of an extraction alone: the seed's own file, what may be added to it, and what is refused."""

from pathlib import Path

import pytest

from steer_llama.config import DEFAULT_POSITIONS, ExtractionConfig, load_extraction
from steer_llama.errors import ConfigError, FileError

# As the seed's users ran it.
SEED = """
# Model configuration
model:
  name: meta-llama/Meta-Llama-3-70B-Instruct
  device: cuda
  n_devices: 8  # Use all 8 GPUs
  dtype: bfloat16
  path: /models/llama-3.3-70B-Instruct

dataset:
  path: /data/formatting_elicited_filtered.json
  chosen_field: pi_response       # Pi teacher-forced
  rejected_field: llama_response  # Llama teacher-forced
  add_system: false
  system_prompt: ""

output:
  file: /data/formatting_pi_llama_activations.h5
  compression: gzip
  compression_opts: 4

processing:
  save_intermediate: false
"""
SMALL = "model: {path: smollm2}\ndataset: {path: pairs.json}\n"


def loaded(folder: Path, text: str, *overrides: str, **flags: object) -> ExtractionConfig:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_extraction(path, overrides, {name.replace("__", "."): value for name, value in flags.items()})


def test_the_seeds_own_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, SEED)
    assert (config.model.where, config.model.device, config.model.n_devices, config.model.dtype) == (
        "/models/llama-3.3-70B-Instruct", "cuda", 8, "bfloat16",
    )  # fmt: skip
    assert config.dataset.path == Path("/data/formatting_elicited_filtered.json")
    assert (config.dataset.chosen_field, config.dataset.rejected_field) == ("pi_response", "llama_response")
    assert config.output.file == Path("/data/formatting_pi_llama_activations.h5")
    assert (config.output.layout, config.output.compression, config.output.compression_opts) == ("pooled", "gzip", 4)
    assert config.output.compression_asked
    assert (config.settings.save_every, config.settings.positions) == (10, DEFAULT_POSITIONS)


def test_what_is_ours(tmp_path: Path) -> None:
    text = SMALL + (
        "output: {layout: per_sample, compression: none}\n"
        "processing: {save_intermediate: true, save_every: 3}\n"
        "extract: {layers: [3, 5], tokens: true}\n"
    )
    config = loaded(tmp_path, text)
    assert (config.output.layout, config.output.compression, config.output.compression_asked) == (
        "per_sample",
        None,
        False,
    )
    assert (config.settings.layers, config.settings.tokens, config.settings.save_every) == ((3, 5), True, 3)


def test_a_system_prompt_only_where_it_is_to_be_added(tmp_path: Path) -> None:
    text = SMALL.replace("pairs.json", "pairs.json, system_prompt: Be kind")
    assert loaded(tmp_path, text).system_prompt == ""
    assert loaded(tmp_path, text, "dataset.add_system=true").system_prompt == "Be kind"


def test_where_paths_stand(tmp_path: Path) -> None:
    config = loaded(tmp_path, SMALL + "output: {file: out/a.h5}\n")
    assert (config.dataset.path, config.output.file) == (tmp_path / "pairs.json", tmp_path / "out" / "a.h5")
    assert config.model.where == "smollm2"
    assert loaded(tmp_path, SMALL).output.file == Path("activations.h5")
    assert loaded(tmp_path, SMALL.replace("smollm2", "../models/x")).model.where == str(tmp_path / "../models/x")
    set_ = loaded(tmp_path, SMALL, "dataset.path=other.json", "output.file=b.h5", "model.path=../x")
    assert (set_.dataset.path, set_.output.file, set_.model.where) == (Path("other.json"), Path("b.h5"), "../x")


def test_flags_win_over_overrides_and_these_over_the_file(tmp_path: Path) -> None:
    text = SMALL + "processing: {save_every: 3}\n"
    assert loaded(tmp_path, text, "processing.save_every=4").settings.save_every == 4
    assert loaded(tmp_path, text, "processing.save_every=4", processing__save_every=5).settings.save_every == 5
    bare = load_extraction(None, (), {"model.path": "m", "dataset.path": "p.json"})
    assert (bare.model.where, bare.dataset.path, bare.output.file) == ("m", Path("p.json"), Path("activations.h5"))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("modell: {}", r"unknown key 'modell'\. Did you mean 'model'"),
        ("source: {}", r"unknown key 'source'\. Known here: dataset, extract, model, output, processing"),
        ("output: {compresion: gzip}", r"unknown key 'output\.compresion'\. Did you mean 'compression'"),
        ("output: {compression: zip}", r"output\.compression: input should be 'gzip' or 'lzf' \(found 'zip'\)"),
        ("output: {compression_opts: 12}", r"output\.compression_opts: .*less than or equal to 9"),
        ("output: {compression: lzf, compression_opts: 4}", "'compression_opts' is gzip's; lzf has none"),
        ("output: {layout: seed}", r"output\.layout: input should be 'pooled' or 'per_sample'"),
        ("processing: {save_every: 0}", r"processing\.save_every: .*greater than 0"),
        ("processing: {save_every: 3}\nextract: {save_every: 4}", "is 3 and 'extract.save_every' is 4; give one"),
        ("extract: {layers: []}", r"extract\.layers: .*at least 1"),
        ("extract: 3", r"extract: input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, more: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: .*" + says):
        loaded(tmp_path, SMALL + more)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dataset: {path: x}", "the key 'model' is missing"),
        ("model: {path: x}", "the key 'dataset' is missing"),
        ("model: {path: x}\ndataset: {}", r"the key 'dataset\.path' is missing"),
        ("- 1", r"expected sections \(model, dataset, output, processing, extract\), found a list"),
        ("model: [", "not YAML"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        loaded(tmp_path, text)


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_many_devices_are_gpus(tmp_path: Path, device: str) -> None:
    says = rf"model\.n_devices: the layers are spread over GPUs, but the device is '{device}'; use 1.* \(found 8\)"
    with pytest.raises(ConfigError, match=says):
        loaded(tmp_path, SEED, f"model.device={device}")
    assert loaded(tmp_path, SEED, f"model.device={device}", "model.n_devices=1").model.device == device


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        load_extraction(tmp_path / "none.yaml")
