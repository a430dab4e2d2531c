from pathlib import Path
from typing import Any

import pytest

from steer_llama.config import Config, load_config, parse_config
from steer_llama.errors import ConfigError, FileError

SMALL = """
source: {name: pi, kind: openai, base_url: "http://127.0.0.1:1/v1", model: Pi}
target: {name: llama, kind: local}
"""


def parsed(text: str = SMALL, *overrides: str) -> Config:
    return parse_config(text, "config.yaml", overrides)


def test_defaults() -> None:
    config = parsed()
    assert (config.trait, config.filter.threshold, config.filter.direction) == ("emoji", 40.0, "majority")
    assert config.source.sampling.max_tokens == 256


def test_overrides() -> None:
    config = parsed(SMALL, "filter.threshold=30", "source.sampling.seed=5", "trait=playful", "sweep.layers=[3, 4]")
    assert (config.filter.threshold, config.source.sampling.seed, config.trait) == (30.0, 5, "playful")
    assert config.sweep.layers == (3, 4)
    assert config.target.sampling.seed == 0


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("threshold", "expected section.key=value"),
        ("=3", "expected section.key=value"),
        ("filter..threshold=3", "expected section.key=value"),
        ("trait.name=3", "'trait' is a value, not a section"),
        ("filter.threshold=[", "the value is not YAML"),
        ("filter.treshold=3", r"unknown key 'filter\.treshold'\. Did you mean 'threshold'"),
    ],
)
def test_wrong_overrides(override: str, says: str) -> None:
    text = SMALL + "trait: emoji\n"
    with pytest.raises(ConfigError, match=says):
        parsed(text, override)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("filter: {threshold: much}", r"filter\.threshold: input should be a valid number.* \(found 'much'\)"),
        ("filter: {threshold: -1}", r"filter\.threshold: .*greater than or equal to 0 \(found -1\)"),
        ("filter: {direction: up}", r"filter\.direction: input should be 'majority', 'source'"),
        ("filtre: {}", r"unknown key 'filtre'\. Did you mean 'filter'"),
        ("fit: {colour: red}", r"unknown key 'fit\.colour'\. Known here: bootstrap, estimator"),
        ("filter: 3", r"filter: input should be a valid dictionary.*\(found 3\)"),
    ],
)
def test_wrong_values_are_named(more: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parsed(SMALL + more)
    assert str(caught.value).startswith("config.yaml: ")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{name: pi, kind: openai, model: x}", "kind 'openai' needs 'base_url'"),
        ("{name: pi, kind: recorded}", "kind 'recorded' needs 'file'"),
        ("{name: pi, kind: carrier-pigeon}", r"source\.kind: input should be 'local', 'openai' or 'recorded'"),
        ("{kind: local}", r"the key 'source\.name' is missing"),
        ("{name: llama, kind: local}", "both named 'llama'"),
        ("{name: 'a b', kind: local}", r"source\.name: string should match pattern"),
        ("{name: pi, kind: local, demonstrate: true, system_prompt: x}", "leave out 'system_prompt'"),
        ("{name: pi, kind: local, sampling: {top_p: 2}}", r"source\.sampling\.top_p"),
    ],
)
def test_wrong_arms_are_named(source: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parsed(f"source: {source}\ntarget: {{name: llama, kind: local}}")


@pytest.mark.parametrize(
    ("text", "says"), [("a: [", "not YAML"), ("- a", "found a list"), ("3", "found a int"), ("", "found a NoneType")]
)
def test_texts_that_are_no_configuration(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parsed(text)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(FileError, match="is empty"):
        load_config(tmp_path / "empty.yaml")


def test_paths_stand_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "trait: traits/rude.json\nelicitation: asked.json\n"
        "source: {name: pi, kind: recorded, file: pi.jsonl}\n"
        "target: {name: llama, kind: recorded, file: /elsewhere/llama.jsonl}\n"
    )
    config = load_config(path)
    assert config.trait == str(tmp_path / "traits" / "rude.json")
    assert config.trait_name == "rude"
    assert config.elicitation == tmp_path / "asked.json"
    assert config.source.file == tmp_path / "pi.jsonl"
    assert config.target.file == Path("/elsewhere/llama.jsonl")


def test_a_packaged_trait_is_no_path(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SMALL + "trait: playful\n")
    assert load_config(path).trait == load_config(path).trait_name == "playful"


@pytest.mark.parametrize(("section", "value"), [("model", {}), ("model", {"device": "cpu"})])
def test_a_model_without_a_place(section: str, value: dict[str, Any]) -> None:
    config = Config.model_validate({**parsed().model_dump(), section: value})
    with pytest.raises(ConfigError, match="give 'path'"):
        _ = config.model.where
