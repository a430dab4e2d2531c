"""A judge for the tests: a script behind a real HTTP server that writes numbers, with log probabilities or without."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from steer_llama.config import JudgeSettings
from tests.chat.server import Answer, ChatServer, said, serve

EVAL_PROMPT = "How playful? Q: {question} A: {answer} Just the number."


@dataclass
class ScriptedJudge:
    """Scores by ``mind``; digit by digit, as many tokenizers write."""

    mind: Callable[[str], str]
    """The prompt to the reply's text."""
    logprobs: bool = True
    schema: bool = True
    continues: str = "yes"
    """``yes``, ``refused``, or ``anew`` (the server begins a new reply instead)."""
    fails: Callable[[int], bool] = lambda number: False
    """Which requests, counted from 1, find the server down."""
    seconds: float = 0.0
    """Until it answers."""
    server: ChatServer | None = None

    def __call__(self, question: str, before: int) -> Answer:
        return replace(self._answer(), seconds=self.seconds)

    def _answer(self) -> Answer:
        assert self.server is not None
        body = self.server.bodies[-1]  # one request at a time is under way
        number = len(self.server.bodies)
        if self.fails(number):
            return Answer(503, {"error": {"message": "down"}}, {"Retry-After": "0"})
        prompt = next(message["content"] for message in body["messages"] if message["role"] == "user")
        if body.get("logprobs") and not self.logprobs:
            return Answer(400, {"error": {"message": "logprobs are not supported"}})
        if "response_format" in body:
            return self._structured(prompt, body)
        text = self.mind(prompt)
        if body.get("continue_final_message"):
            if self.continues == "refused":
                return Answer(400, {"error": {"message": "no prefill"}})
            begun = body["messages"][-1]["content"] if self.continues == "yes" else ""
            return Answer(body=self._with_places("", begun, text, 1))
        whole = self._with_places(text, "", text, body["max_tokens"]) if body.get("logprobs") else said(text)
        return Answer(body=whole)

    def _structured(self, prompt: str, body: dict[str, Any]) -> Answer:
        if not self.schema:
            return Answer(400, {"error": {"message": "response_format is not supported"}})
        text = self.mind(prompt)
        told = len(body["messages"]) > 1
        if text == "REFUSAL":
            return Answer(body=said('{"refusal": true, "score": null}'))
        if not text.isdigit():
            return Answer(body=said('{"refusal": false, "score": 33}' if told and text == "mend me" else text))
        return Answer(body=said(json.dumps({"refusal": False, "score": int(text)})))

    def _with_places(self, text: str, begun: str, whole: str, most: int) -> dict[str, Any]:
        """The reply with the places of its text from ``begun`` on: each digit likely, and some of another."""
        tokens = [*re.findall(r"[0-9]|[^0-9]+", whole.removeprefix(begun)), ""]
        places, so_far = [], begun
        for token in tokens[:most]:
            top = chances(so_far, whole)
            places.append({"token": token, "logprob": math.log(top.get(token, 1e-9)), "top_logprobs": listed(top)})
            so_far += token
        body = said(text or (tokens[0] if tokens else ""))
        body["choices"][0]["logprobs"] = {"content": places}
        return body


@contextmanager
def judging(mind: Callable[[str], str], **more: Any) -> Iterator[ChatServer]:
    judge = ScriptedJudge(mind, **more)
    with serve(judge) as server:
        judge.server = server
        yield server


def chances(so_far: str, whole: str) -> dict[str, float]:
    """Next tokens: mostly the text's own, and at the first digit of a number ``2`` (for 2 alone) now and then."""
    if whole.startswith(so_far) and so_far != whole:
        token = re.findall(r"[0-9]|[^0-9]+", whole.removeprefix(so_far))[0]
        if not so_far and token.isdigit() and token != "2":
            return {token: 0.8, "2": 0.2}
        return {token: 1.0}
    return {"": 1.0}


def listed(top: dict[str, float]) -> list[dict[str, Any]]:
    return [{"token": token, "logprob": math.log(p)} for token, p in top.items()]


def judge_settings(server: ChatServer, **more: Any) -> JudgeSettings:
    endpoint = {
        "base_url": server.base_url,
        "model": "wise",
        "concurrency": 1,
        "max_retries": 0,
        "sampling": {"max_tokens": 16},
        **more.pop("endpoint", {}),
    }
    return JudgeSettings.model_validate({"endpoint": endpoint, **more})
