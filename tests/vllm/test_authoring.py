"""A small author behind a real vLLM: whatever it writes keeps to the schema, because the server makes it."""

import json
from pathlib import Path

import pytest

from steer_llama.records import Elicitation
from tests.cli.command import steer_llama
from tests.vllm.conftest import Vllm

pytestmark = pytest.mark.vllm


def test_an_elicitation_is_written(vllm: Vllm, tmp_path: Path) -> None:
    config = vllm.example(tmp_path, author={"questions": 4, "questions_per_call": 4, "instructions": 1})
    ran = steer_llama("elicit", "emoji", "-c", config, "-o", tmp_path / "asked")
    assert ran.code == 0, ran.err
    elicitation = Elicitation.model_validate_json((tmp_path / "asked" / "elicitation.json").read_text(encoding="utf-8"))
    assert len(elicitation.questions) == 4
    assert len(elicitation.instruction) == 1
    assert "{answer}" in elicitation.eval_prompt
    assert elicitation.split is not None
    replies = (tmp_path / "asked" / "elicitation.journal.jsonl").read_text(encoding="utf-8").splitlines()
    for reply in map(json.loads, replies):
        if reply["finish_reason"] == "stop":
            assert isinstance(json.loads(reply["text"]), dict)
