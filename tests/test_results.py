import json
from pathlib import Path
from typing import Any

import pytest

from steer_llama.errors import ConfigError, ConflictError, FileError, RecordError
from steer_llama.files import write_json
from steer_llama.pairs import Arms, read_results, write_results
from steer_llama.records import Result


def entries(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "results.json"
    write_json(path, value)
    return path


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    whole = Result(
        question="Why? 🙂",
        source_response="A",
        target_response="B",
        source_score=80,
        target_score=20.5,
        score_difference=59.5,
        split="extract",
        kept=False,
        reason="the source scores higher",
    )
    unscored = Result(question="How?", source_response="", target_response="B", target_score=1, reason="unscored: x")
    path = tmp_path / "results.json"
    write_results(path, [whole, unscored], "pi", "smol")
    assert list(json.loads(path.read_text())["Why? 🙂"]) == [
        "pi_response",
        "smol_response",
        "score_difference",
        "pi_score",
        "smol_score",
        "split",
        "kept",
        "reason",
    ]
    assert read_results(path, "pi", "smol").results == [whole, unscored]


def test_what_a_judge_says_beside_the_scores(tmp_path: Path) -> None:
    judged = Result(
        question="Why?",
        source_response="A",
        target_response="B",
        source_score=80,
        target_score=20,
        score_difference=60,
        source_coherence=99,
        target_coherence=0,
        source_score_spread=2.5,
        target_score_mass=0.5,
    )
    path = tmp_path / "results.json"
    write_results(path, [judged], "pi", "smol")
    entry = json.loads(path.read_text())["Why?"]
    assert {key: value for key, value in entry.items() if key.endswith(("coherence", "spread", "mass"))} == {
        "pi_coherence": 99,
        "smol_coherence": 0,
        "pi_score_spread": 2.5,
        "smol_score_mass": 0.5,
    }
    assert read_results(path, "pi", "smol").results == [judged]


def test_the_seeds_results(tmp_path: Path) -> None:
    path = entries(tmp_path, {"Why?": {"llama_response": "L", "pi_response": "P", "score_difference": -50}})
    read = read_results(path)
    assert read.arms == Arms("pi", "llama")
    (result,) = read.results
    assert (result.source_response, result.target_response, result.score_difference) == ("P", "L", -50)
    # the seed's difference is Pi − Llama, whoever is called the source
    assert read_results(path, "llama", "pi").results[0].score_difference == 50


def test_scores_give_the_difference(tmp_path: Path) -> None:
    entry = {"a_response": "x", "b_response": "y", "a_score": 10, "b_score": 70}
    path = entries(tmp_path, {"Why?": entry})
    assert read_results(path, "a", "b").results[0].score_difference == -60
    assert read_results(path, "b").results[0].score_difference == 60
    path = entries(tmp_path, {"Why?": {**entry, "score_difference": 40}})
    with pytest.raises(RecordError, match=r"question 'Why\?': 'score_difference' is 40, but the scores are 10 and 70"):
        read_results(path, "a", "b")


def test_arms_that_cannot_be_told_apart(tmp_path: Path) -> None:
    path = entries(tmp_path, {"Why?": {"smol_response": "x", "gpt_response": "y", "score_difference": 1}})
    with pytest.raises(ConfigError, match=r"found 'gpt_response', 'smol_response'\. Pass the names of both"):
        read_results(path)
    assert read_results(path, target="smol").arms == Arms("gpt", "smol")
    with pytest.raises(FileError, match="no key 'pi_response'; found 'gpt_response', 'smol_response'"):
        read_results(path, "pi", "smol")
    with pytest.raises(ConfigError, match="both 'smol'"):
        read_results(path, "smol", "smol")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "a JSON list"),
        ({}, "holds no questions"),
        ({"Why?": 3}, r"question 'Why\?': a JSON int"),
        ({" ": {}}, "entry 1: its key, the question, is empty"),
        ({"Why?": {"pi_response": "x"}}, "expected two keys that end in '_response'"),
        (
            {"Why?": {"pi_response": "x", "llama_response": "y"}, "How?": {"pi_response": "x"}},
            r"question 'How\?': the key 'llama_response' is missing; found 'pi_response'",
        ),
        ({"Why?": {"pi_response": None, "llama_response": "y"}}, "'pi_response' is null, expected a text"),
        ({"Why?": {"pi_response": 3, "llama_response": "y"}}, "'pi_response' is a JSON int"),
        ({"Why?": {"pi_response": "x", "llama_response": "y", "score_difference": "much"}}, "score_difference: input"),
        ({"Why?": {"pi_response": "x", "llama_response": "y", "score_difference": float("nan")}}, "a score is nan"),
        ({"Why?": {"pi_response": "x", "llama_response": "y", "split": "train"}}, "split: input should be 'extract'"),
    ],
)
def test_wrong_results_are_named(tmp_path: Path, value: Any, says: str) -> None:
    path = entries(tmp_path, value)
    with pytest.raises(FileError, match=says) as caught:
        read_results(path)
    assert str(path) in str(caught.value)


def test_a_question_is_not_overwritten(tmp_path: Path) -> None:
    result = Result(question="Why?", source_response="A", target_response="B")
    with pytest.raises(ConflictError, match=r"'Why\?' stands there twice"):
        write_results(tmp_path / "results.json", [result, result], "pi", "llama")
