"""The judge's conversation: which requests are sent, and what becomes of every kind of reply."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from steer_llama.chat.judging import Score, fill
from steer_llama.config import BudgetSettings, JudgeSettings
from steer_llama.errors import BudgetError, ConfigError, EndpointError
from steer_llama.progress import SilentReporter
from steer_llama.stages.asking import correspondence
from steer_llama.stages.judging import JudgeModel
from tests.chat.server import Answer, said, serve
from tests.stages.judges import EVAL_PROMPT, judge_settings, judging

PROMPTS = [fill(EVAL_PROMPT, f"q{number}", f"score {number}") for number in (75, 40, 7, 90, 11, 63)]


def told(prompt: str) -> str:
    """What stands in the answer: a judge with an easy life."""
    return prompt.split("score ")[1].split(maxsplit=1)[0]


def score(
    settings: JudgeSettings,
    path: Path,
    prompts: Sequence[str] = PROMPTS,
    reporter: SilentReporter | None = None,
    budget: BudgetSettings | None = None,
) -> list[Score]:
    reporter = reporter or SilentReporter()
    with correspondence(path, reporter, budget or BudgetSettings()) as letters:
        scores = JudgeModel(settings, letters, reporter).score(prompts)
    return [scores[prompt] for prompt in prompts]


def values(scores: Sequence[Score]) -> list[float | None]:
    return [None if one.value is None else round(one.value, 6) for one in scores]


def expected(number: int) -> float:
    """Of the scripted judge, which would have written a 2 at every fifth draw."""
    return 0.8 * number + 0.2 * 2


def test_log_probabilities_digit_by_digit(tmp_path: Path) -> None:
    with judging(told) as server:
        reporter = SilentReporter()
        found = score(judge_settings(server), tmp_path / "j.jsonl", reporter=reporter)
        assert values(found) == pytest.approx([expected(number) for number in (75, 40, 7, 90, 11, 63)])
        assert [one.mass for one in found] == pytest.approx([1.0] * 6)
        assert reporter.notes == [
            "judge (wise): the score is the expectation over the numbers 0–100 (log probabilities), "
            "the best that the endpoint can do"
        ]
        # Six judgements; one request tries going on from digits; the 2 that nobody drew is explored each time.
        assert len(server.bodies) == 6 + 1 + 6
        assert all(body["temperature"] == 0 and body["top_logprobs"] == 20 for body in server.bodies)
        going_on = [body for body in server.bodies if body.get("continue_final_message")]
        assert [body["messages"][-1]["content"] for body in going_on[1:]] == ["2"] * 6
        assert all(body["max_tokens"] == 1 for body in going_on)
        # and nothing is asked again
        assert score(judge_settings(server), tmp_path / "j.jsonl") == found
        assert len(server.bodies) == 13


@pytest.mark.parametrize(("continues", "why", "calls"), [("refused", "the server refuses it", 7), ("anew", "anew", 7)])
def test_a_server_that_cannot_go_on_from_digits(tmp_path: Path, continues: str, why: str, calls: int) -> None:
    with judging(told, continues=continues) as server:
        reporter = SilentReporter()
        found = score(judge_settings(server), tmp_path / "j.jsonl", reporter=reporter)
        assert values(found) == [75, 40, 7, 90, 11, 63]
        assert [one.mass for one in found] == pytest.approx([0.8] * 6)
        assert ("begins a new reply" if why == "anew" else why) in reporter.notes[1]
        assert len(server.bodies) == calls


def test_structured_where_there_are_no_log_probabilities(tmp_path: Path) -> None:
    with judging(told, logprobs=False) as server:
        reporter = SilentReporter()
        found = score(judge_settings(server), tmp_path / "j.jsonl", reporter=reporter)
        assert values(found) == [75, 40, 7, 90, 11, 63]
        assert [one.mass for one in found] == [None] * 6
        assert "JSON object (structured output); not logprobs: the server refuses it (" in reporter.notes[0]
        assert len(server.bodies) == 1 + 6
        assert server.bodies[-1]["response_format"]["json_schema"]["strict"] is True


def test_text_where_there_is_nothing_else(tmp_path: Path) -> None:
    with judging(told, logprobs=False, schema=False) as server:
        reporter = SilentReporter()
        assert values(score(judge_settings(server), tmp_path / "j.jsonl", reporter=reporter)) == [75, 40, 7, 90, 11, 63]
        assert "the reply's text; not logprobs: the server refuses it" in reporter.notes[0]
        assert "; not structured: the server refuses it" in reporter.notes[0]
        assert len(server.bodies) == 2 + 6


def test_a_judge_that_talks_is_made_to_fill_in_a_form(tmp_path: Path) -> None:
    """It has log probabilities, but not on numbers."""

    def script(question: str, before: int) -> Answer:
        if question.endswith("where the verdict is REFUSAL."):
            return Answer(body=said('{"refusal": false, "score": 40}'))
        body = said("It is playful")
        body["choices"][0]["logprobs"] = {
            "content": [{"token": "It", "logprob": -0.1, "top_logprobs": [{"token": "It", "logprob": -0.1}]}]
        }
        return Answer(body=body)

    with serve(script) as server:
        reporter = SilentReporter()
        assert values(score(judge_settings(server), tmp_path / "j.jsonl", reporter=reporter)) == [40] * 6
        assert "not logprobs: only 0% of the probability is on numbers where it begins 'It is playful'" in str(
            reporter.notes
        )


def test_a_method_that_is_asked_for_and_does_not_work(tmp_path: Path) -> None:
    with judging(told, logprobs=False, schema=False) as server:
        with pytest.raises(ConfigError, match=r"judge\.method is 'logprobs', but logprobs: the server refuses.*auto"):
            score(judge_settings(server, method="logprobs"), tmp_path / "j.jsonl")
        assert len(server.bodies) == 3


def test_each_unscored_reply_has_its_reason(tmp_path: Path) -> None:
    replies = {"75": "75", "40": "REFUSAL", "7": "no idea", "90": "190", "11": "", "63": "63"}
    with judging(lambda prompt: replies[told(prompt)], logprobs=False, schema=False) as server:
        found = score(judge_settings(server, method="text"), tmp_path / "j.jsonl")
    assert values(found) == [75, None, None, None, None, 63]
    reasons = [str(one.reason) for one in found]
    assert reasons[1] == "the judge calls the answer a refusal"
    assert reasons[2] == "the judge's reply 'no idea' is no number"
    assert reasons[3] == "the judge's score 190 is not from 0 to 100"
    assert "empty" in reasons[4]


def test_a_broken_form_is_asked_for_once_more(tmp_path: Path) -> None:
    replies = {"75": "75", "40": "mend me", "7": "never", "90": "90", "11": "REFUSAL", "63": "63"}
    with judging(lambda prompt: replies[told(prompt)]) as server:
        found = score(judge_settings(server, method="structured"), tmp_path / "j.jsonl")
        assert values(found) == [75, 33, None, 90, None, 63]
        assert "'never' cannot be read: it is no JSON object" in str(found[2].reason)
        assert len(server.bodies) == 6 + 2
        assert score(judge_settings(server, method="structured"), tmp_path / "j.jsonl") == found
        assert len(server.bodies) == 8


def test_a_judge_that_is_cut_in_its_thoughts_is_stopped_at_once(tmp_path: Path) -> None:
    with serve(lambda question, before: Answer(body=said("<think>Well, let me see", "length"))) as server:
        with pytest.raises(ConfigError) as caught:
            score(judge_settings(server), tmp_path / "j.jsonl")
        assert len(server.bodies) == 1
    assert "cut in its thoughts" in str(caught.value)
    assert "judge.endpoint.sampling.max_tokens (now 16)" in str(caught.value)
    assert "enable_thinking: false" in str(caught.value)


def test_the_order_is_random_and_the_same_each_time(tmp_path: Path) -> None:
    def order(seed: int, name: str) -> list[str]:
        with judging(told, logprobs=False, schema=False) as server:
            score(judge_settings(server, method="text", seed=seed), tmp_path / name)
            return [told(body["messages"][0]["content"]) for body in server.bodies]

    first = order(0, "a")
    assert sorted(first) == sorted(map(told, PROMPTS))
    assert first != [told(prompt) for prompt in PROMPTS]
    assert order(0, "b") == first
    assert order(1, "c") != first


def test_repeats_are_averaged(tmp_path: Path) -> None:
    replies: dict[str, list[str]] = {}

    def mind(prompt: str) -> str:
        said_before = replies.setdefault(prompt, [])
        said_before.append(["70", "80", "no idea"][len(said_before)])
        return said_before[-1]

    with judging(mind, logprobs=False, schema=False) as server:
        settings = judge_settings(server, method="text", repeats=3, endpoint={"sampling": {"temperature": 0.9}})
        (found,) = score(settings, tmp_path / "j.jsonl", PROMPTS[:1])
        assert (found.value, found.judgements, found.scored) == (75, 3, 2)
        assert found.spread == pytest.approx(50**0.5)
        assert sorted(body["temperature"] for body in server.bodies) == [0, 0.9, 0.9]
        assert len({body["seed"] for body in server.bodies}) == 3


def test_equal_prompts_are_judged_once(tmp_path: Path) -> None:
    with judging(told, logprobs=False, schema=False) as server:
        found = score(judge_settings(server, method="text"), tmp_path / "j.jsonl", [PROMPTS[0], PROMPTS[0]])
        assert values(found) == [75, 75]
        assert len(server.bodies) == 1


SCRIPTS: dict[str, dict[str, Any]] = {
    "logprobs": {},
    "structured": {"logprobs": False},
    "text": {"logprobs": False, "schema": False},
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_stopped_run_goes_on_and_ends_like_one_that_was_not(tmp_path: Path, kind: str) -> None:
    replies = {"75": "75", "40": "mend me", "7": "7", "90": "never", "11": "11", "63": "63"}

    def mind(prompt: str) -> str:
        return replies[told(prompt)]

    with judging(mind, **SCRIPTS[kind]) as server:
        whole = score(judge_settings(server), tmp_path / "whole.jsonl")
        calls = len(server.bodies)
    answered = _stop_at_every_request(mind, SCRIPTS[kind], tmp_path / "torn.jsonl", calls)
    assert answered.scores == whole
    # Every request was answered once: only those that met a server that was down, or were refused, were sent again.
    assert len(answered.journal) == len((tmp_path / "whole.jsonl").read_text().splitlines())


class _Answered:
    def __init__(self, scores: list[Score], journal: list[str]) -> None:
        self.scores, self.journal = scores, journal


def _stop_at_every_request(mind: Callable[[str], str], script: dict[str, Any], path: Path, calls: int) -> _Answered:
    """Let the server go down at three requests in ten; run again until it is done."""
    with judging(mind, fails=lambda number: random.Random(number).random() < 0.3, **script) as server:
        for _ in range(4 * calls):
            before = path.read_text().splitlines() if path.exists() else []
            try:
                found = score(judge_settings(server), path)
            except EndpointError:
                assert not before or path.read_text().splitlines()[: len(before)] == before
                continue
            lines = path.read_text().splitlines()
            assert len({json.loads(line)["key"] for line in lines}) == len(lines)
            return _Answered(found, lines)
    raise AssertionError("it never ends")


def test_the_budget_ends_it_cleanly(tmp_path: Path) -> None:
    with judging(told, logprobs=False, schema=False) as server:
        settings = judge_settings(server, method="text")
        with pytest.raises(BudgetError, match=r"budget\.max_calls is 4"):
            score(settings, tmp_path / "j.jsonl", budget=BudgetSettings(max_calls=4))
        assert len(server.bodies) == 4
        found = score(settings, tmp_path / "j.jsonl", budget=BudgetSettings(max_calls=6))
        assert values(found) == [75, 40, 7, 90, 11, 63]
        assert len(server.bodies) == 6


def test_a_prompt_that_the_server_refuses_is_unscored(tmp_path: Path) -> None:
    def script(question: str, before: int) -> Answer:
        if "score 11" in question:
            return Answer(400, {"error": {"message": "too long"}})
        return Answer(body=said(told(question)))

    with serve(script) as server:
        found = score(judge_settings(server, method="text"), tmp_path / "j.jsonl")
    assert values(found) == [75, 40, 7, 90, None, 63]
    assert "the judge's server refused it (" in str(found[4].reason)
    assert "too long" in str(found[4].reason)


def test_journals_stay_small(tmp_path: Path) -> None:
    with judging(lambda prompt: f"{told(prompt)} " + "x 1" * 40) as server:
        score(judge_settings(server, endpoint={"sampling": {"max_tokens": 64}}), tmp_path / "j.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "j.jsonl").read_text().splitlines()]
    assert max(len(row["steps"]) for row in rows) <= 8
