import json
from pathlib import Path

import pytest

from tests.cli.command import steer_llama


def test_the_answer_and_its_arithmetic() -> None:
    ran = steer_llama("plan", "--model", "llama-3.3-70b", "--gpus", "8xH100", "--pairs", "1000")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "llama-3.3-70b in bfloat16 on 8 × H100, 1,000 pairs"
    assert lines[1].startswith("fits: yes (18.46 GiB of 79.1 GiB on the fullest); about 4 min 34 s; a file of 15.7 GB")
    assert "8 GPUs give memory, not speed" in lines[2]
    said = " ".join(ran.out.split())
    for part in (
        "80 blocks × 855,654,400 + embeddings 1,050,673,152 + lm_head 1,050,673,152 + others 8,192 70,553,706,496",
        "2 × 68,451,041,280 in 80 blocks × 380,000 tokens 52,022.8 TFLOP",
        "× 0.45 (assumed, not measured)",
        "1,000 pairs × 2 arms × 80 layers × 3 positions × 8,192 × 4 bytes 15.7 GB",
        "891.3 GB",
    ):
        assert part in said


def test_what_does_not_fit_is_an_answer_too() -> None:
    ran = steer_llama("plan", "-m", "llama-3.3-70b", "--gpus", "H100", "--tokens")
    assert ran.code == 0
    assert "fits: no (needs 132.65 GiB of 79.1 GiB); the fewest that it fits on: 2 × H100" in ran.out
    assert "340,000 response tokens × 80 layers × 8,192 × 2 bytes" in ran.out
    none = steer_llama("plan", "-m", "llama-3.3-70b", "--gpus", "8xT4", "--parallel", "tensor")
    assert "no number of T4 is enough with --parallel tensor" in none.out


def test_tensor_parallel() -> None:
    ran = steer_llama("plan", "-m", "mixtral-8x7b", "--gpus", "4xA100-80", "--parallel", "tensor", "--layers", "10,20")
    assert ran.code == 0
    assert "not speed" not in ran.out
    assert "2 sums × 21 blocks × 380,000 × 4,096 × 2 bytes × 2 × 3/4 ÷ 300 GB/s" in ran.out
    assert "2 of 8" in ran.out


def test_json() -> None:
    ran = steer_llama("plan", "-m", "gpt2", "--gpus", "2xT4", "--pairs", "3", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert (found["fits"], found["count"], found["text"]["pairs"]) == (True, 2, 3)
    assert found["parameters"] == 124_439_808
    assert len(found["memory"]) == 2
    assert found["file_bytes"] == 3 * 2 * 12 * (3 * 768 + 1) * 4


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--gpus", "8xH10"], "Did you mean H100"),
        (["--gpus", "H100", "--pairs", "0"], "--pairs"),
        (["--gpus", "H100", "--layers", "80"], "there is no layer 80"),
        (["--gpus", "H100", "--layers", "a"], "expected whole numbers"),
        (["--gpus", "H100", "--model", "llama-3.3-7b"], "Did you mean llama-3.3-70b?"),
        (["--gpus", "3xH100", "--parallel", "tensor"], "cannot divide the 8 key-value heads"),
        (["--gpus", "H100", "--mfu", "2"], "at most 1"),
        ([], "--gpus"),
    ],
)
def test_wrong_input(flags: list[str], told: str) -> None:
    ran = steer_llama("plan", "--model", "llama-3.3-70b", *flags)
    assert ran.code == 2
    assert told in ran.said
    assert "Traceback" not in ran.err


def test_a_file_of_pairs_says_how_many(tmp_path: Path) -> None:
    pairs = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Question {n}?", "chosen": "yes " * 9, "rejected": "no " * 9} for n in range(3)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = steer_llama("plan", "-m", "gpt2", "--gpus", "T4", "--pairs-file", pairs)
    assert ran.code == 0, ran.err
    assert "gpt2 in float32 on 1 × T4, 3 pairs" in ran.out
    ran = steer_llama("plan", "-m", "gpt2", "--gpus", "T4", "--pairs-file", pairs, "--pairs", 5)
    assert ran.code == 2
    assert "leave --pairs out" in ran.said
