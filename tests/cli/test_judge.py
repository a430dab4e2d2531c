import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from steer_llama.files import write_json, write_jsonl
from steer_llama.pairs import read_results
from tests.chat.server import ChatServer
from tests.cli.command import Started, steer_llama
from tests.stages.judges import EVAL_PROMPT, judging

SEEDS = {
    "Why?": {"llama_response": "- a\n- b", "pi_response": "plain", "score_difference": -50},
    "How?": {"llama_response": "🙂 plain", "pi_response": "plain", "score_difference": 0},
}


def seeds_results(folder: Path) -> Path:
    write_json(folder / "results_in.json", SEEDS)
    return folder / "results_in.json"


def elicitation(folder: Path, **more: Any) -> Path:
    write_json(folder / "elicited.json", {"questions": ["How?", "Why?", "Who?"], "eval prompt": EVAL_PROMPT, **more})
    return folder / "elicited.json"


def config(folder: Path, server: ChatServer, **judge: Any) -> Path:
    arms = {name: {"name": name, "kind": "recorded", "file": "x.json"} for name in ("pi", "llama")}
    endpoint = {"base_url": server.base_url, "model": "wise", "concurrency": 1, "max_retries": 0}
    value = {"source": arms["pi"], "target": arms["llama"], "judge": {"endpoint": endpoint, **judge}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def mind(prompt: str) -> str:
    return "80" if "🙂" in prompt else "20"


def test_counting_in_the_seeds_results(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    ran = steer_llama(
        "judge", "--elicitation", elicitation(tmp_path), "--responses", seeds_results(tmp_path),
        "--metric", "markdown", "-o", out,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    results = read_results(out).results
    assert [result.question for result in results] == ["How?", "Why?"]
    assert (results[1].source_score, results[1].target_score) == (0, 100)
    assert f"wrote {out}" in ran.said


def test_counting_in_responses(tmp_path: Path) -> None:
    rows = [
        {"key": role, "arm": arm, "role": role, "split": "dev", "question": "Why?", "text": text, "model": "m",
         "finish_reason": "stop"}
        for role, arm, text in (("source", "pi", "🙂"), ("target", "smol", "b"))
    ]  # fmt: skip
    write_jsonl(tmp_path / "responses.jsonl", rows)
    out = tmp_path / "results.json"
    ran = steer_llama("judge", "--responses", tmp_path / "responses.jsonl", "--metric", "emoji", "-o", out)
    assert ran.code == 0, ran.err
    assert read_results(out, "pi", "smol").results[0].score_difference == 100
    assert "pi 100.0, smol 0.0" in ran.said


def test_a_model_judges(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with judging(mind, logprobs=False, schema=False) as server:
        argv = (
            "judge", "--elicitation", elicitation(tmp_path), "--responses", seeds_results(tmp_path),
            "-c", config(tmp_path, server, method="text", coherence=False), "--repeats", "2", "-o", out,
        )  # fmt: skip
        ran = steer_llama(*argv)
        assert ran.code == 0, ran.err
        # Two answers to Why? and two to How?, each twice.
        assert len(server.bodies) == 8
        assert steer_llama(*argv).code == 0
        assert len(server.bodies) == 8
    entry = json.loads(out.read_text())["How?"]
    assert (entry["pi_score"], entry["llama_score"], entry["score_difference"]) == (20, 80, -60)
    assert entry["llama_score_spread"] == 0
    assert (tmp_path / "out.journal.jsonl").is_file()
    assert "8 of 8 judgements have a score" in ran.said


@pytest.mark.parametrize("answered", [1, 3, 6])
def test_killed_and_run_again(tmp_path: Path, answered: int) -> None:
    """SIGKILL leaves no time to tidy up; what had been answered is not asked again, and the file is the same."""
    with judging(mind, logprobs=False, seconds=0.1) as server:
        argv = [
            "judge", "--elicitation", elicitation(tmp_path), "--responses", seeds_results(tmp_path),
            "-c", config(tmp_path, server),
        ]  # fmt: skip
        assert steer_llama(*argv, "-o", tmp_path / "whole.json").code == 0
        calls = len(server.bodies)
        server.bodies.clear()
        journal = tmp_path / "torn.journal.jsonl"
        killed = Started(tmp_path, *argv, "-o", tmp_path / "torn.json")
        killed.wait_until(lambda: journal.exists() and len(journal.read_bytes().splitlines()) >= answered)
        killed.send(signal.SIGKILL)
        killed.process.join(10)
        assert not (tmp_path / "torn.json").exists()
        kept = [json.loads(line)["key"] for line in journal.read_text().splitlines() if line.endswith("}")]
        before = len(server.bodies)
        assert steer_llama(*argv, "-o", tmp_path / "torn.json").code == 0
        # The request for log probabilities is refused, which nothing remembers.
        assert len(server.bodies) - before == calls - len(kept)
    assert (tmp_path / "torn.json").read_text() == (tmp_path / "whole.json").read_text()


def test_who_judges_has_to_be_clear(tmp_path: Path) -> None:
    seeds = seeds_results(tmp_path)
    ran = steer_llama("judge", "--responses", seeds)
    assert (ran.code, "say who judges" in ran.said) == (2, True)
    with judging(mind) as server:
        path = config(tmp_path, server)
    ran = steer_llama("judge", "--responses", seeds, "-c", path, "--metric", "emoji")
    assert (ran.code, "give the one that scores" in ran.said) == (2, True)
    ran = steer_llama("judge", "--responses", seeds, "--metric", "emoji", "--repeats", "3")
    assert (ran.code, "--repeats is for a judge model" in ran.said) == (2, True)
    ran = steer_llama("judge", "--responses", seeds, "--metric", "emoji", "--set", "judge.repeats=2")
    assert (ran.code, "name one with -c" in ran.said) == (2, True)
    other = elicitation(tmp_path, questions=["Else?"])
    ran = steer_llama("judge", "--responses", seeds, "--metric", "emoji", "--elicitation", other)
    assert (ran.code, "answers none of the elicitation's 1 questions" in ran.said) == (2, True)
