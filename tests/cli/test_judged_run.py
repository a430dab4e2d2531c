"""A whole run in which a model judges: a trait that nobody can count, from the answers to the verdict."""

import json
from pathlib import Path

from tests.cli.command import steer_llama
from tests.cli.conftest import Made
from tests.cli.small_run import write_json, write_small_run
from tests.stages.judges import EVAL_PROMPT, judging


def mind(prompt: str) -> str:
    """Scores what the source says high, and every other text by its length, so that the arms differ."""
    if prompt.startswith("Judge how coherent"):
        return "90"
    return "95" if "😊🎉" in prompt else str(10 + len(prompt) % 7)


def judged_run(folder: Path, made: Made, address: str, **judge: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "warm.json", {"name": "warm", "trait_instruction": "Be warm."})
    endpoint = {"base_url": address, "model": "wise", "concurrency": 1, "max_retries": 0}
    path = write_small_run(folder, made.model, trait="warm.json", judge={"endpoint": endpoint, **judge})
    asked = json.loads((folder / "asked.json").read_text())
    write_json(folder / "asked.json", {**asked, "eval_prompt": EVAL_PROMPT})
    return path


def test_the_whole_way(tmp_path: Path, made: Made) -> None:
    with judging(mind, continues="refused") as server:
        path = judged_run(tmp_path, made, server.base_url)
        ran = steer_llama("run", path, "-o", tmp_path / "out")
        assert ran.code == 0, ran.err
        asked = len(server.bodies)
        again = steer_llama("run", path, "-o", tmp_path / "out")
        assert (again.code, len(server.bodies)) == (0, asked)
        # How the replies come does not change what they are.
        again = steer_llama("run", path, "-o", tmp_path / "out", "--set", "judge.endpoint.timeout=60")
        assert (again.code, len(server.bodies)) == (0, asked)
    out = tmp_path / "out"
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["metric"] == "judge (wise)"
    assert verdict["arms"][0]["measured"]["trait"]["n"] > 0
    assert verdict["arms"][0]["measured"]["share"]["n"] == 0
    assert "share of answers" not in verdict["sentence"]
    assert "nan" not in (verdict["sentence"] + ran.out).lower()
    trials = [json.loads(line) for line in (out / "sweep.jsonl").read_text().splitlines()]
    assert all(trial["trait_count"] is None for trial in trials)
    assert all((trial["trait_score"] is None) == (not trial["text"].strip()) for trial in trials)
    # The source's answers are cut to the length of the target's, and judged so.
    assert all(trial["trait_score"] is not None for trial in trials if trial["arm"] == "source")
    assert {trial["coherence_score"] for trial in trials if trial["text"].strip()} == {90}
    assert (out / "sweep.judge.journal.jsonl").is_file()
    assert "share of answers" not in (out / "report.html").read_text().partition("<script")[0]
    results = json.loads((out / "results.json").read_text())
    assert all(entry["pi_coherence"] == 90 for entry in results.values())


def test_a_run_that_is_stopped_asks_only_the_rest(tmp_path: Path, made: Made) -> None:
    with judging(mind, logprobs=False, schema=False) as server:
        path = judged_run(tmp_path / "whole", made, server.base_url, method="text", coherence=False)
        assert steer_llama("run", path, "-o", tmp_path / "whole" / "out").code == 0
        calls = len(server.bodies)
    with judging(
        mind, logprobs=False, schema=False, fails=lambda number: number in {5, calls // 2, calls - 2}
    ) as server:
        path = judged_run(tmp_path / "torn", made, server.base_url, method="text", coherence=False)
        codes = [steer_llama("run", path, "-o", tmp_path / "torn" / "out").code for _ in range(4)]
        assert (codes[0], codes[-1]) == (1, 0)
        assert len(server.bodies) == calls + 3
    for name in ("results.json", "sweep.jsonl", "verdict.json"):
        assert (tmp_path / "torn" / "out" / name).read_text() == (tmp_path / "whole" / "out" / name).read_text()


def test_another_judge_needs_no_other_answers(tmp_path: Path, made: Made) -> None:
    with judging(mind, logprobs=False, schema=False) as server:
        path = judged_run(tmp_path, made, server.base_url, method="text", coherence=False)
        assert steer_llama("run", path, "-o", tmp_path / "out").code == 0
    before = (tmp_path / "out" / "sweep.journal.jsonl").read_text()
    counted = steer_llama("run", path, "-o", tmp_path / "out", "--set", "judge={metric: emoji}")
    assert counted.code == 0, counted.err
    after = (tmp_path / "out" / "sweep.journal.jsonl").read_text()
    assert after.startswith(before)
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert verdict["metric"] == "emoji"


def test_the_sweep_alone(tmp_path: Path, made: Made) -> None:
    with judging(mind, logprobs=False, schema=False) as server:
        path = judged_run(tmp_path, made, server.base_url, method="text")
        out = tmp_path / "mine.jsonl"
        argv = ("sweep", made.out / "vector.safetensors", "-m", made.model, "--elicitation", tmp_path / "asked.json",
                "-c", path, "--layers", "1", "--strengths", "0.3", "--max-tokens", "4", "--min-coherence", "0",
                "--device", "cpu", "--objective", "trait", "--side-effects", "none", "-o", out)  # fmt: skip
        ran = steer_llama(*argv)
        assert ran.code == 0, ran.err
        calls = len(server.bodies)
        assert steer_llama(*argv).code == 0
        assert len(server.bodies) == calls
        refused = steer_llama(*argv, "--metric", "emoji")
        assert (refused.code, "give the one that scores" in refused.said) == (2, True)
    assert json.loads((tmp_path / "mine.verdict.json").read_text())["metric"] == "judge (wise)"
