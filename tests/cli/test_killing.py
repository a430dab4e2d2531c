"""kill -9 again and again: nothing that was answered is asked again, and the result is an uninterrupted run's."""

import json
import math
import random
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chat.server import Answer, ChatServer, said, serve
from tests.cli.command import Started, steer_llama
from tests.cli.small_run import write_json

KILLS = 22
MORE = 12
"""Answers a round at most: fewer than all of them over all rounds."""
HANGS = 60.0
"""Seconds."""
UNDER_WAY = 8
"""Two arms, four at once each."""
QUESTIONS = tuple(f"What is number {n} good for? 🙂" for n in range(140))
assert 2 * len(QUESTIONS) > KILLS * MORE


class Allowance:
    """How many answers the server still gives; the others hang, so that no run ends before it is killed."""

    def __init__(self) -> None:
        self._left = math.inf
        self._lock = threading.Lock()

    def set(self, answers: float) -> None:
        with self._lock:
            self._left = answers

    def limited(self, answer: Answer) -> Answer:
        with self._lock:
            self._left -= 1
            return answer if self._left >= 0 else replace(answer, seconds=HANGS)


def slowly(question: str, _: int) -> Answer:
    """An answer that depends on the question alone, after a time that is another for each."""
    seconds = (hash_of(question) % 20) / 1000
    if question.startswith("Rate"):
        return Answer(body=said(str(hash_of(question) % 101)), seconds=seconds)
    return Answer(body=said(f"About {question[::-1]} 🎉 “so”\n\u2028 it is."), seconds=seconds)


def hash_of(text: str) -> int:
    return random.Random(text).getrandbits(30)


def keys_in(journal: Path) -> set[str]:
    """Keys of the whole lines."""
    if not journal.exists():
        return set()
    whole = journal.read_bytes().rpartition(b"\n")[0]
    return {json.loads(line)["key"] for line in whole.split(b"\n") if line}


def kill_again_and_again(folder: Path, journal: Path, server: ChatServer, allowance: Allowance, *argv: object) -> None:
    """Kill the command at random moments, `KILLS` times, and let it finish at last."""
    dice = random.Random(20)
    for _ in range(KILLS):
        before = keys_in(journal)
        server.bodies.clear()
        more = dice.randint(0, MORE)
        allowance.set(more)
        running = Started(folder, *argv)
        wanted, late = len(before) + dice.randint(0, more), dice.uniform(0, 0.03)
        running.wait_until(lambda wanted=wanted: len(keys_in(journal)) >= wanted)  # type: ignore[misc]
        threading.Event().wait(late)
        running.send(signal.SIGKILL)
        assert running.finish().code == -signal.SIGKILL
        # Beside what was journalled now: what was under way, and what had arrived and waited to be written.
        assert len(server.bodies) <= len(keys_in(journal)) - len(before) + 2 * UNDER_WAY + 1
    server.bodies.clear()
    allowance.set(math.inf)
    left = keys_in(journal)
    assert 0 < len(left) < 2 * len(QUESTIONS)
    ran = Started(folder, *argv).finish()
    assert ran.code == 0, ran.err
    assert len(server.bodies) == len(keys_in(journal)) - len(left)


def configuration(folder: Path, base_url: str, **sections: Any) -> Path:
    write_json(folder / "asked.json", {"questions": QUESTIONS, "eval_prompt": "Rate {question}: {answer}"})
    arm = {"kind": "openai", "base_url": base_url, "concurrency": 4}
    config = {
        "trait": "emoji",
        "elicitation": "asked.json",
        "source": {**arm, "name": "pi", "model": "pi"},
        "target": {**arm, "name": "llama", "model": "llama"},
        **sections,
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.slow
def test_respond(tmp_path: Path) -> None:
    allowance = Allowance()
    with serve(lambda question, before: allowance.limited(slowly(question, before))) as server:
        config = configuration(tmp_path, server.base_url)
        whole, out = tmp_path / "whole.jsonl", tmp_path / "o.jsonl"
        assert steer_llama("respond", "-c", config, "-o", whole).code == 0
        assert len(server.bodies) == 2 * len(QUESTIONS)
        kill_again_and_again(
            tmp_path, tmp_path / "o.journal.jsonl", server, allowance, "respond", "-c", config, "-o", out
        )
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_judge(tmp_path: Path) -> None:
    allowance = Allowance()

    def judge(question: str, before: int) -> Answer:
        answer = slowly(question, before)
        if not question.startswith("Rate"):
            return answer
        score = int(answer.body["choices"][0]["message"]["content"])
        scored = said(json.dumps({"refusal": False, "score": score}))
        return allowance.limited(Answer(body=scored, seconds=answer.seconds))

    with serve(judge) as server:
        endpoint = {"base_url": server.base_url, "model": "judge", "concurrency": 8}
        settings = {"endpoint": endpoint, "method": "structured", "coherence": False}
        config = configuration(tmp_path, server.base_url, judge=settings)
        responses, whole, out = (tmp_path / name for name in ("responses.jsonl", "whole.json", "o.json"))
        assert steer_llama("respond", "-c", config, "-o", responses).code == 0
        asked = ("judge", "-c", config, "--elicitation", tmp_path / "asked.json", "--responses", responses)
        ran = steer_llama(*asked, "-o", whole)
        assert ran.code == 0, ran.err
        scores = [entry["pi_score"] for entry in json.loads(whole.read_text()).values()]
        assert len(set(scores)) > 10, "the judgements differ, so that a mix-up would show"
        kill_again_and_again(tmp_path, tmp_path / "o.journal.jsonl", server, allowance, *asked, "-o", out)
    assert out.read_bytes() == whole.read_bytes()
