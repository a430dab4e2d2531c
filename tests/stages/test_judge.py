from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from steer_llama.config import Config
from steer_llama.errors import ConfigError, RecordError
from steer_llama.files import write_json, write_jsonl
from steer_llama.pairs import Arms, read_results
from steer_llama.progress import SilentReporter
from steer_llama.records import Elicitation, Response, Result, Split, as_json
from steer_llama.rundir import RunDir
from steer_llama.stages.answers import arms_of, both_answers
from steer_llama.stages.judge import STAGE, judge_by_metric
from steer_llama.stages.measuring import metric_of
from steer_llama.style import Metric, get_metric
from tests.chat.server import ChatServer
from tests.stages.judges import EVAL_PROMPT, judging

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


def judge_responses(responses: Sequence[Response], metric: Metric) -> list[Result]:
    return judge_by_metric(both_answers(responses), Arms("pi", "smol"), metric)


def test_both_answers_are_scored() -> None:
    (result,) = judge_responses(both("Why?", "a!!!", "b!"), BANGS)
    assert (result.source_score, result.target_score, result.score_difference) == (30, 10, 20)
    assert (result.split, result.kept, result.reason) == ("dev", None, None)


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (" ", "b!", "pi: empty answer"),
        ("a", "", "smol: empty answer"),
        ("", "\n", "pi: empty answer; smol: empty answer"),
    ],
)
def test_an_empty_answer_is_unscored_and_not_zero(source: str, target: str, reason: str) -> None:
    (result,) = judge_responses(both("Why?", source, target), BANGS)
    assert result.score_difference is None
    assert result.reason == f"unscored: {reason}"
    assert (result.source_score is None) == ("pi" in reason)
    assert (result.target_score is None) == ("smol" in reason)


def test_what_the_metric_cannot_score() -> None:
    never = Metric("never", "", lambda text: None, lambda text: 0)
    (result,) = judge_responses(both("Why?", "a", "b"), never)
    assert result.reason == "unscored: pi: never cannot be measured in it; smol: never cannot be measured in it"


def test_a_question_that_its_server_refused() -> None:
    source, target = both("Why?", "", "b!")
    refused = source.model_copy(update={"reason": "content filter"})
    (result,) = judge_responses([refused, target], BANGS)
    assert (result.source_score, result.target_score, result.reason) == (None, 10, "unscored: pi: content filter")


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


def asked(path: Path, eval_prompt: str = EVAL_PROMPT) -> None:
    split = Split(extract=("How?",), dev=("Why?",), test=("Who?",))
    elicitation = Elicitation(questions=("How?", "Why?", "Who?"), split=split, eval_prompt=eval_prompt)
    write_json(path, as_json(elicitation))


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


def by_model(server: ChatServer, **more: object) -> dict[str, object]:
    sampling = {"max_tokens": 16}
    endpoint = {"base_url": server.base_url, "model": "wise", "concurrency": 1, "max_retries": 0, "sampling": sampling}
    return {"endpoint": endpoint, **more}


def mind(prompt: str) -> str:
    """Coherent is all but "odd", playful what has an emoji; one answer is called a refusal."""
    if prompt.startswith("Judge how coherent"):
        return "10" if "odd" in prompt else "95"
    if "I cannot" in prompt:
        return "REFUSAL"
    return "80" if "🙂" in prompt else "20"


def run_by_model(folder: Path, server: ChatServer, **more: object) -> tuple[list[Result], list[str]]:
    folder.mkdir(exist_ok=True)
    asked(folder / "elicitation.json")
    answers = [*both("How?", "🙂 yes", "no"), *both("Why?", "I cannot", "odd"), *both("Who?", "", "🙂 yes")]
    written(folder / "responses.jsonl", answers)
    reporter = SilentReporter()
    STAGE.run(config(judge=by_model(server, **more)), RunDir(folder), reporter)
    return read_results(folder / "results.json", "pi", "smol").results, reporter.notes


def test_a_model_judges(tmp_path: Path) -> None:
    with judging(mind, logprobs=False) as server:
        results, notes = run_by_model(tmp_path, server)
        # Five answers that are not empty, each for trait and coherence, and the request for log probabilities.
        assert len(server.bodies) == 11
        for body in server.bodies:
            assert not {"pi", "smol", "source", "target"} & set(str(body["messages"]).replace("'", " ").split())
        run_by_model(tmp_path, server)
        assert len(server.bodies) == 12, "only what is refused is asked again"
    assert [(r.source_score, r.target_score, r.score_difference) for r in results] == [
        (80, 20, 60),
        (None, 20, None),
        (None, 80, None),
    ]
    assert [(r.source_coherence, r.target_coherence) for r in results] == [(95, 95), (95, 10), (None, 95)]
    assert results[1].reason == "unscored: pi: the judge calls the answer a refusal"
    assert results[2].reason == "unscored: pi: empty answer"
    assert notes[1:] == [
        "mean judge (wise) score over 3 questions: pi 80.0 (2 unscored), smol 40.0",
        "mean coherence: pi 95.0 (1 unscored), smol 66.7",
        "the judge and the measured feature 'emoji' correlate with r = 1.00 over 4 answers",
    ]


def test_a_model_judges_by_log_probabilities_and_repeats(tmp_path: Path) -> None:
    with judging(mind) as server:
        results, notes = run_by_model(tmp_path, server, repeats=2, coherence=False)
        texts = [body["messages"][0]["content"] for body in server.bodies]
    first = results[0]
    assert [first.source_score, first.target_score] == pytest.approx([0.8 * 80 + 0.2 * 2, 20])
    assert [first.source_score_spread, first.source_score_mass] == pytest.approx([0, 1])
    assert (first.source_coherence, results[1].source_score_mass) == (None, None)
    assert not any(text.startswith("Judge how coherent") for text in texts)
    assert notes[2] == "8 of 10 judgements have a score; their spread is 0.0 points on average"
    assert notes[3] == "probability on numbers 0–100: 1.00 on average, 1.00 at the least"


def test_the_same_answer_to_a_question_has_the_same_score(tmp_path: Path) -> None:
    asked(tmp_path / "elicitation.json")
    written(tmp_path / "responses.jsonl", [one for q in ("How?", "Why?", "Who?") for one in both(q, "yes", "yes")])
    with judging(mind, schema=False) as server:
        made = config(judge=by_model(server, method="text", coherence=False))
        STAGE.run(made, RunDir(tmp_path), SilentReporter())
        assert len(server.bodies) == 3


def test_an_elicitation_without_an_evaluation_prompt(tmp_path: Path) -> None:
    asked(tmp_path / "elicitation.json", " ")
    written(tmp_path / "responses.jsonl", [one for q in ("How?", "Why?", "Who?") for one in both(q, "a", "b")])
    with judging(mind) as server, pytest.raises(RecordError, match=r"elicitation\.json: has no 'eval_prompt'"):
        STAGE.run(config(judge=by_model(server)), RunDir(tmp_path), SilentReporter())
    assert not server.bodies


def test_what_makes_the_stage_run_again() -> None:
    address = {"base_url": "http://x/v1", "model": "wise"}

    def settings(endpoint: dict[str, object] | None = None, **more: object) -> object:
        return STAGE.settings(config(judge={"endpoint": {**address, **(endpoint or {})}, **more}))

    assert settings() == settings({"concurrency": 2, "timeout": 5, "max_retries": 1}, seed=4)
    for other in (
        settings({"model": "wiser"}),
        settings({"sampling": {"max_tokens": 9}}),
        settings(repeats=2),
        settings(method="text"),
        settings(min_mass=0.5),
        settings(coherence=False),
        STAGE.settings(config(trait="emoji")),
    ):
        assert other != settings()


def test_a_trait_without_a_measured_feature_can_be_judged(tmp_path: Path) -> None:
    write_json(tmp_path / "rude.json", {"name": "Rude", "trait_instruction": "x"})
    asked(tmp_path / "elicitation.json")
    written(tmp_path / "responses.jsonl", [one for q in ("How?", "Why?", "Who?") for one in both(q, "🙂", "b")])
    with judging(mind) as server:
        reporter = SilentReporter()
        made = config(trait=str(tmp_path / "rude.json"), judge=by_model(server, method="text"))
        STAGE.run(made, RunDir(tmp_path), reporter)
    assert not any("measured feature" in note for note in reporter.notes)
