"""A judge behind a real vLLM: scores are read from the probabilities of its tokens, digit by digit."""

import json
from pathlib import Path

import pytest

from tests.cli.command import steer_llama
from tests.cli.small_run import write_json
from tests.vllm.conftest import EXAMPLE, Vllm

pytestmark = pytest.mark.vllm

ANSWERS = {
    "What is good about tea?": (
        "Oh, tea! 🍵😍 So warm and cozy! 💛✨",
        "It is warm, and it has less caffeine than coffee.",
    ),
    "What is good about rain?": ("Puddles! 🌧️🎉 Grab your boots! 😄", "It waters the fields and cleans the air."),
    "What is good about cats?": ("So soft! 🐱💕 And so funny! 😹", "They keep mice away and need little care."),
}


def test_scores_from_log_probabilities(vllm: Vllm, tmp_path: Path) -> None:
    config = vllm.example(tmp_path)
    answers = {asked: {"source_response": a, "target_response": b} for asked, (a, b) in ANSWERS.items()}
    responses = write_json(tmp_path / "answers.json", answers)
    given = EXAMPLE.with_name("emoji-small-judge.json").read_text(encoding="utf-8")
    eval_prompt = json.loads(given)["eval_prompt"]
    elicitation = write_json(tmp_path / "asked.json", {"questions": list(ANSWERS), "eval_prompt": eval_prompt})
    out = tmp_path / "results.json"
    command = ("judge", "--responses", responses, "--elicitation", elicitation, "-c", config, "-o", out)
    ran = steer_llama(*command)
    assert ran.code == 0, ran.err
    results = json.loads(out.read_text(encoding="utf-8"))
    assert set(results) == set(ANSWERS)
    scores = {arm: [entry[f"{arm}_score"] for entry in results.values()] for arm in ("source", "target")}
    assert all(0 <= score <= 100 and score != int(score) for of_arm in scores.values() for score in of_arm)
    assert all(0 < entry["source_score_mass"] <= 1 for entry in results.values())
    assert sum(scores["source"]) > sum(scores["target"]), "even a small judge sees the emoji"
    # The tokenizer writes digit by digit, so the judge was made to go on from digits that it had not drawn.
    journal = (tmp_path / "results.journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(journal) > len(ANSWERS) * 2
    assert "cannot go on from digits" not in ran.err
    assert steer_llama(*command).code == 0
    assert (tmp_path / "results.journal.jsonl").read_text(encoding="utf-8").splitlines() == journal
