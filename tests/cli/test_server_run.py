"""A whole run whose source is a model behind a real HTTP server."""

import json
import threading
from pathlib import Path

import pytest

from steer_llama.activations import extract_pairs
from steer_llama.config import ModelSettings
from steer_llama.lm.endpoint import LocalEndpoint
from steer_llama.lm.load import load_model
from steer_llama.progress import SilentReporter
from steer_llama.records import ChatRequest
from tests.chat.server import Answer, said, serve
from tests.cli.command import steer_llama
from tests.cli.conftest import Made
from tests.cli.small_run import QUESTIONS, write_json, write_small_run

SYSTEM, TURN = "Be fun.", {"user": "Hi", "assistant": "Hi 🎉🎉"}
TARGET_SYSTEM, TARGET_TURN = "Be dry.", {"user": "Ho", "assistant": "Ho."}


def messages(system: str, turn: dict[str, str], question: str) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": turn["user"]},
        {"role": "assistant", "content": turn["assistant"]},
        {"role": "user", "content": question},
    ]


def test_the_whole_way(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    served = LocalEndpoint("served", load_model(ModelSettings(path=str(made.model), device="cpu"), SilentReporter()), 8)
    turn = threading.Lock()

    def script(question: str, _: int) -> Answer:
        ask = {"temperature": 0.7, "top_p": 1.0, "repetition_penalty": 1.0, "max_tokens": 4, "seed": 1}
        request = ChatRequest(key="1", messages=({"role": "user", "content": question},), **ask)
        with turn:
            (reply,) = served.answer([request])
        return Answer(body=said(f"{reply.text} 🎉🎉 fun 😊"))

    monkeypatch.setenv("PI_KEY", "sesame-42")
    trait = {"name": "fun", "trait_instruction": "Be fun.", "metric": "emoji"}
    write_json(tmp_path / "fun.json", {**trait, "demonstration": {"system_prompt": SYSTEM, "examples": [TURN]}})
    with serve(script) as server:
        arm = {"kind": "openai", "base_url": server.base_url, "model": "pi-1", "demonstrate": True, "file": None}
        config = write_small_run(
            tmp_path,
            made.model,
            trait="fun.json",
            source={**arm, "api_key_env": "PI_KEY"},
            target={"system_prompt": TARGET_SYSTEM, "examples": [TARGET_TURN]},
        )
        seen = _spy_on_extract(monkeypatch)
        ran = steer_llama("run", config, "-o", tmp_path / "out")
        assert ran.code == 0, ran.err
        assert set(server.keys) == {"Bearer sesame-42"}
        bodies = sorted(server.bodies, key=lambda body: QUESTIONS.index(body["messages"][-1]["content"]))
        assert [body["messages"] for body in bodies] == [messages(SYSTEM, TURN, question) for question in QUESTIONS]
        assert steer_llama("run", config, "-o", tmp_path / "out").code == 0
        assert len(server.bodies) == len(QUESTIONS)
    # What is read is what the target would read: its own system prompt and turns, and none of the source's.
    assert seen
    for prompt, rejected_prompt in seen:
        assert prompt == messages(TARGET_SYSTEM, TARGET_TURN, prompt[-1]["content"])
        assert rejected_prompt is None
    for path in (tmp_path / "out").iterdir():
        assert b"sesame-42" not in path.read_bytes(), f"the key stands in {path.name}"
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert {arm["arm"] for arm in verdict["arms"]} >= {"unsteered", "source", "prompted"}
    assert "fun" in ran.out


def _spy_on_extract(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[dict[str, str]], object]]:
    seen: list[tuple[list[dict[str, str]], object]] = []
    real = extract_pairs

    def spy(model, pairs, *others, **more):
        seen.extend(([dict(message) for message in pair.prompt], pair.rejected_prompt) for pair in pairs)
        return real(model, pairs, *others, **more)

    monkeypatch.setattr("steer_llama.stages.extract.extract_pairs", spy)
    return seen


def test_a_wrong_key(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PI_KEY", "sesame-42")
    refusal = {"error": {"message": "Incorrect API key provided: sesame-42"}}
    with serve(lambda _question, _: Answer(status=401, body=refusal)) as server:
        arm = {"kind": "openai", "base_url": server.base_url, "model": "pi-1", "file": None, "api_key_env": "PI_KEY"}
        config = write_small_run(tmp_path, made.model, source=arm)
        ran = steer_llama("run", config, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "the server refused the key (HTTP 401" in ran.said
    assert "sesame" not in ran.err
    assert "Traceback" not in ran.err


def test_a_judge_with_a_wrong_key_is_told_before_anybody_is_asked(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame-42")
    with serve(lambda question, _: Answer(body=said("Yes."))) as pi, serve(lambda *_: Answer(status=401)) as judge:
        judge.models = Answer(status=401, body={"error": {"message": "no sesame-42"}})
        arm = {"kind": "openai", "base_url": pi.base_url, "model": "pi-1", "file": None}
        endpoint = {"base_url": judge.base_url, "model": "judge", "api_key_env": "JUDGE_KEY"}
        config = write_small_run(tmp_path, made.model, source=arm, judge={"endpoint": endpoint})
        unusable = steer_llama("run", config, "-o", tmp_path / "out")
        assert unusable.code == 2
        assert "asked.json: has no 'eval_prompt'" in unusable.said
        asked = {"questions": QUESTIONS, "eval_prompt": "Rate {question}: {answer}"}
        write_json(tmp_path / "asked.json", asked)
        ran = steer_llama("run", config, "-o", tmp_path / "out")
        assert ran.code == 1
        assert "judge.endpoint" in ran.said
        assert "refused the key (HTTP 401: no ***)" in ran.said
        assert pi.bodies == []


def test_check(tmp_path: Path, made: Made) -> None:
    known = True

    def script(question: str, _: int) -> Answer:
        if not known:
            return Answer(404, {"error": {"message": "no pi-1"}})
        if "JSON" in question:
            return Answer(400, {"error": {"message": "no response_format here"}})
        return Answer(body=said("Four"))

    with serve(script) as server:
        arm = {"kind": "openai", "base_url": server.base_url, "model": "pi-1", "file": None}
        config = write_small_run(tmp_path, made.model, source={**arm, "price": {"input": 1, "output": 1}})
        ran = steer_llama("check", config, "--set", "budget.max_calls=5")
        assert ran.code == 0, ran.err
        assert "no: source (model 'pi-1'" in ran.out
        assert "no response_format here" in " ".join(ran.out.split())
        assert "two seeds gave the same answer" in ran.out
        assert "budget.max_calls is 5, and the run may need 9" in ran.out
        assert steer_llama("check", config, "--set", "source.api_key_env=NO_SUCH_KEY").code == 2
        # Imagine that the name were wrong.
        server.models = Answer(body={"data": [{"id": "pi-2", "object": "model"}], "object": "list"})
        known = False
        ran = steer_llama("check", config)
        assert ran.code == 1
        assert "HTTP 404: no pi-1" in " ".join(ran.out.split())
        assert "It has pi-2" in " ".join(ran.out.split())
