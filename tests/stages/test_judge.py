from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from typer import Typer
from typer.testing import CliRunner

from steer_llama.cli.judge import judge
from steer_llama.config import Config
from steer_llama.errors import ConfigError, RecordError
from steer_llama.files import write_json, write_jsonl
from steer_llama.pairs import Arms, read_results
from steer_llama.progress import SilentReporter
from steer_llama.records import Elicitation, Response, Split, as_json
from steer_llama.rundir import RunDir
from steer_llama.stages.judge import STAGE, arms_of, judge_responses, metric_of
from steer_llama.style import Metric, get_metric

BANGS = Metric("bangs", "exclamation marks", lambda text: min(100.0, 10.0 * text.count("!")), lambda text: 0)


def response(role: Literal["source", "target"], question: str, text: str, arm: str = "") -> Response:
    return Response(
        key=f"{role} {question}",
        arm=arm or {"source": "pi", "target": "smol"}[role],
        role=role,
        split="dev",
        question=question,
        text=text,
        finish_reason="stop",
        model="m",
    )


def both(question: str, source: str, target: str) -> list[Response]:
    return [response("source", question, source), response("target", question, target)]


def written(path: Path, responses: Sequence[Response]) -> Path:
    write_jsonl(path, [as_json(one) for one in responses])
    return path


def test_both_answers_are_scored() -> None:
    (result,) = judge_responses(both("Why?", "a!!!", "b!"), BANGS)
    assert (result.source_score, result.target_score, result.score_difference) == (30, 10, 20)
    assert (result.split, result.kept, result.reason) == ("dev", None, None)


@pytest.mark.parametrize(
    ("source", "target", "reason"), [(" ", "b!", "source"), ("a", "", "target"), ("", "\n", "source and target")]
)
def test_an_empty_answer_is_unscored_and_not_zero(source: str, target: str, reason: str) -> None:
    (result,) = judge_responses(both("Why?", source, target), BANGS)
    assert result.score_difference is None
    assert result.reason == f"unscored: {reason}"
    assert (result.source_score is None) == ("source" in reason)
    assert (result.target_score is None) == ("target" in reason)


def test_what_the_metric_cannot_score() -> None:
    never = Metric("never", "", lambda text: None, lambda text: 0)
    (result,) = judge_responses(both("Why?", "a", "b"), never)
    assert result.reason == "unscored: source and target"


def test_missing_and_doubled_answers_are_named() -> None:
    with pytest.raises(RecordError, match=r"the target has no answer to 'Why\?'"):
        judge_responses([response("source", "Why?", "a")], BANGS)
    with pytest.raises(RecordError, match=r"the source has two answers to 'Why\?'"):
        judge_responses([response("source", "Why?", "a"), *both("Why?", "b", "c")], BANGS)


def test_the_arms_of_responses() -> None:
    assert arms_of(both("Why?", "a", "b")) == Arms("pi", "smol")
    with pytest.raises(RecordError, match=r"2 arms in the role 'source' \(\['pi', 'gpt'\]\); expected one"):
        arms_of([*both("Why?", "a", "b"), response("source", "How?", "a", "gpt")])
    with pytest.raises(RecordError, match="0 arms in the role 'target'"):
        arms_of([response("source", "Why?", "a")])


def config(**more: object) -> Config:
    arms = {"source": {"name": "pi", "kind": "local"}, "target": {"name": "smol", "kind": "local"}}
    return Config.model_validate({**arms, **more})


def asked(path: Path) -> None:
    split = Split(extract=("How?",), dev=("Why?",), test=("Who?",))
    write_json(path, as_json(Elicitation(questions=("How?", "Why?", "Who?"), split=split)))


def test_the_stage(tmp_path: Path) -> None:
    asked(tmp_path / "elicitation.json")
    answers = [answer for question in ("Why?", "Who?", "Odd?", "How?") for answer in both(question, "🙂 yes", "no")]
    written(tmp_path / "responses.jsonl", answers)
    reporter = SilentReporter()
    STAGE.run(config(), RunDir(tmp_path), reporter)
    read = read_results(tmp_path / "results.json", "pi", "smol")
    assert [result.question for result in read.results] == ["How?", "Why?", "Who?"]
    assert all((result.score_difference or 0) > 0 for result in read.results)
    assert reporter.notes == ["mean emoji score over 3 questions: pi 100.0, smol 0.0"]


def test_the_stage_wants_all_answers(tmp_path: Path) -> None:
    asked(tmp_path / "elicitation.json")
    written(tmp_path / "responses.jsonl", both("Why?", "a", "b"))
    with pytest.raises(RecordError, match=r"no answers to 2 of 3 questions, first 'How\?'"):
        STAGE.run(config(), RunDir(tmp_path), SilentReporter())


def test_the_metric(tmp_path: Path) -> None:
    assert metric_of(config(trait="emoji")) == get_metric("emoji")
    assert metric_of(config(trait="emoji", judge={"metric": "length"})) == get_metric("length")
    assert STAGE.settings(config(trait="emoji")) == STAGE.settings(config(judge={"metric": "emoji"}))
    with pytest.raises(ConfigError, match="no metric 'smell'"):
        metric_of(config(judge={"metric": "smell"}))
    write_json(tmp_path / "rude.json", {"name": "Rude", "trait_instruction": "x"})
    with pytest.raises(ConfigError, match=r"'Rude' names no measured feature: set judge\.metric to one of emoji"):
        metric_of(config(trait=str(tmp_path / "rude.json")))


def test_the_command(tmp_path: Path) -> None:
    app = Typer()
    app.command()(judge)
    responses = written(tmp_path / "responses.jsonl", both("Why?", "🙂", "b"))
    out = tmp_path / "results.json"
    done = CliRunner().invoke(app, ["--responses", str(responses), "--metric", "emoji", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert read_results(out, "pi", "smol").results[0].score_difference == 100
    assert "pi 100.0, smol 0.0" in done.output.replace("\n", " ")
