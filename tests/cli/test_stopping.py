"""Ctrl-C, SIGTERM and a closed pipe: no traceback, and the same command goes on."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chat.server import Answer, said, serve
from tests.cli.command import Started, steer_llama
from tests.cli.conftest import Made
from tests.cli.small_run import QUESTIONS, write_json, write_small_run

SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def stop(running: Started, number: int, code: int) -> None:
    running.send(number)
    ran = running.finish()
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    assert "the same command goes on from there" in ran.err.splitlines()[-1]


def server_run(folder: Path, model: Path, base_url: str) -> Path:
    arm = {"kind": "openai", "base_url": base_url, "concurrency": 1, "file": None}
    return write_small_run(folder, model, source={**arm, "model": "pi"}, target={**arm, "model": "llama"})


@SIGNALS
def test_respond(tmp_path: Path, made: Made, number: int, code: int) -> None:
    with serve(lambda question, _: Answer(body=said(f"About {question}"), seconds=0.05)) as server:
        config = server_run(tmp_path, made.model, server.base_url)
        out, journal = tmp_path / "o.jsonl", tmp_path / "o.journal.jsonl"
        running = Started(tmp_path, "respond", "-c", config, "-o", out)
        running.wait_until(lambda: lines(journal) >= 3)
        stop(running, number, code)
        assert not out.exists()
        kept, asked = lines(journal), len(server.bodies)
        assert kept < 2 * len(QUESTIONS), "it was stopped too late to mean anything"
        assert steer_llama("respond", "-c", config, "-o", out).code == 0
        assert len(server.bodies) == asked + 2 * len(QUESTIONS) - kept
        assert lines(out) == 2 * len(QUESTIONS)


@SIGNALS
def test_extract(tmp_path: Path, made: Made, number: int, code: int) -> None:
    answers = {f"{n}?": {"pi_response": f"Yes {n}! 😊", "llama_response": f"No {n}."} for n in range(250)}
    pairs = write_json(tmp_path / "pairs.json", answers)
    out = tmp_path / "o.h5"
    line = ("extract", "--pairs", pairs, "-m", made.model, "-o", out, "--save-every", 1)
    running = Started(tmp_path, *line)
    running.wait_until(lambda: bool(list(tmp_path.glob("o.h5.partial*"))))
    stop(running, number, code)
    assert not out.exists()
    ran = Started(tmp_path, *line).finish()
    assert ran.code == 0, ran.err
    assert "going on after" in ran.err
    assert out.exists()
    assert not list(tmp_path.glob("*.partial*"))


@SIGNALS
def test_sweep(tmp_path: Path, made: Made, number: int, code: int) -> None:
    asked = write_json(tmp_path / "asked.json", {"questions": [f"What about {n}?" for n in range(200)]})
    out, journal = tmp_path / "o.jsonl", tmp_path / "o.journal.jsonl"
    line: list[object] = ["sweep", made.out / "vector.safetensors", "-m", made.model, "--elicitation", asked]
    line += ["-o", out, "--layers", 1, "--strengths", 0.1, "--max-tokens", 2, "--batch-size", 2]
    line += ["--objective", "trait", "--side-effects", "none"]
    running = Started(tmp_path, *line)
    running.wait_until(lambda: lines(journal) >= 2)
    stop(running, number, code)
    assert not out.exists()
    kept = lines(journal)
    ran = Started(tmp_path, *line).finish()
    assert ran.code == 0, ran.err
    keys = [json.loads(row)["key"] for row in journal.read_text().splitlines()]
    assert len(keys) == len(set(keys)), "an answer that was there was written again"
    assert len(keys) > kept
    assert lines(out) == len(keys)


@pytest.mark.slow
def test_the_console_script(tmp_path: Path, made: Made) -> None:
    """The same with nothing of the tests' own in between."""
    with serve(lambda question, _: Answer(body=said(question), seconds=0.2)) as server:
        config = server_run(tmp_path, made.model, server.base_url)
        script = Path(sys.executable).parent / "steer-llama"
        command = [str(part) for part in (script, "respond", "-c", config, "-o", tmp_path / "o.jsonl")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            while lines(tmp_path / "o.journal.jsonl") < 1:
                assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err == "stopped. What was finished is kept: the same command goes on from there.\n"


def test_nobody_reads_the_answers(tmp_path: Path, made: Made) -> None:
    line = ("generate", "hi", "ho", "-m", made.model, "--vector", made.out / "vector.safetensors", "--max-tokens", 4)
    ran = Started(tmp_path, *line, nobody_reads=True).finish()
    assert ran.err == ""
    assert ran.code in {0, 1}


@pytest.mark.parametrize("arguments", ["--help", "demo --print-config", "filter --help"])
def test_nobody_reads_the_help(arguments: str) -> None:
    script = Path(sys.executable).parent / "steer-llama"
    ran = subprocess.run(
        f"{script} {arguments} | head -n 1", shell=True, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stderr == ""
    assert ran.stdout.count("\n") == 1
