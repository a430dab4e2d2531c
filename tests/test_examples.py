"""The configurations in examples/ are ones that the program takes, and name what they are there for."""

from pathlib import Path

import pytest

from steer_llama.config import load_config
from steer_llama.elicitations import packaged_name, read_elicitation, read_trait

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_can_be_read(path: Path) -> None:
    config = load_config(path)
    assert read_trait(config.trait).name == config.trait
    given = config.elicitation or packaged_name(config.trait)
    assert given is not None
    assert read_elicitation(given).questions


def test_llama_is_the_setting_that_the_project_started_from() -> None:
    config = load_config(EXAMPLES / "llama-3.3-70b.yaml")
    assert config.source.base_url == "https://api.inflection.ai/external/api/inference/openai/v1"
    assert config.source.api_key_env == "PI_API_KEY"
    assert config.target.base_url == "http://172.28.127.202:8000/v1"
    assert config.model.where == "/mnt/vast/share/inf2-training/models/open_source/llama-3.3-70B-Instruct"
    assert config.model.n_devices == 8
    assert config.filter.threshold == 40
    assert config.author is not None
    assert config.judge.endpoint is not None
    qwen = {config.author.endpoint.base_url, config.judge.endpoint.base_url}
    assert qwen == {"http://172.28.127.109:8010/v1"}
    # One reply is thought over, the other is read from its first token.
    thinks_not = {"chat_template_kwargs": {"enable_thinking": False}}
    assert (config.author.endpoint.extra_body, config.judge.endpoint.extra_body) == ({}, thinks_not)


def test_the_local_one_asks_one_server_only() -> None:
    config = load_config(EXAMPLES / "local-vllm.yaml")
    endpoints = config.endpoints
    assert set(endpoints) == {"author.endpoint", "source", "target", "judge.endpoint"}
    assert {endpoint.base_url for endpoint in endpoints.values()} == {"http://127.0.0.1:8011/v1"}
    assert config.model.where == "smollm2"


def test_the_local_one_differs_from_the_packaged_elicitation_in_its_evaluation_prompt_only() -> None:
    given = read_elicitation(EXAMPLES / "emoji-small-judge.json")
    packaged = read_elicitation("emoji")
    assert given.model_copy(update={"eval_prompt": packaged.eval_prompt}) == packaged
    assert "{answer}" in given.eval_prompt
