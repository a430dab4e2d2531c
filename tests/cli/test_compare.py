import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from steer_llama.cli.compare import compare
from steer_llama.errors import ConfigError, RecordError
from steer_llama.pairs import write_results
from steer_llama.records import Result
from steer_llama.stages.compare import compare as compared
from steer_llama.style import get_metric

APP = Typer()
APP.command()(compare)


def result(question: str, source: float | None, target: float | None, text: str = "🙂 hi") -> Result:
    return Result(
        question=question,
        source_response=text,
        target_response="plain words here",
        source_score=source,
        target_score=target,
        score_difference=None if source is None or target is None else source - target,
    )


def judged(path: Path, *results: Result, source: str = "pi", target: str = "llama") -> Path:
    write_results(path, results, source, target)
    return path


def test_two_judges(tmp_path: Path) -> None:
    first = judged(
        tmp_path / "a.json", result("A", 90, 10), result("B", 50, 40), result("C", None, 5), result("D", 1, 2)
    )
    second = judged(
        tmp_path / "b.json",
        result("A", 80, 20),
        result("B", 90, 40),
        result("C", 5, 5),
        result("D", 1, 2, text="other"),
        result("E", 1, 2),
    )
    found = compared(first, second, get_metric("emoji"), 40)
    assert (found.pairs, found.different, found.only_in_one) == (3, 1, 1)
    assert found.scores.answers == 5  # one answer to C has no score
    assert found.scores.mean_absolute_difference == pytest.approx((10 + 10 + 40 + 0 + 0) / 5)
    assert found.decisions.pairs == 2
    assert found.decisions.counts == {"neither/source": 1, "source/source": 1}
    assert list(found.with_metric) == [str(first), str(second)]
    assert found.with_metric[str(second)].answers == 6


def test_which_arm_is_the_source_is_the_first_files_idea(tmp_path: Path) -> None:
    first = judged(tmp_path / "a.json", result("A", 90, 10))
    second = judged(tmp_path / "b.json", result("A", 90, 10))
    swapped = json.loads(second.read_text())
    second.write_text(json.dumps({"A": dict(reversed(list(swapped["A"].items())))}))
    assert compared(first, second, None, 40).decisions.counts == {"source/source": 1}


def test_a_judge_and_a_measured_feature(tmp_path: Path) -> None:
    first = judged(tmp_path / "a.json", result("A", 90, 10), result("B", 20, 10))
    found = compared(first, None, get_metric("emoji"), 40)
    assert (found.second, found.pairs, found.with_metric) == ("emoji", 2, {})
    assert found.decisions.counts == {"neither/source": 1, "source/source": 1}


def test_the_seeds_results_have_differences_only(tmp_path: Path) -> None:
    entry = {"pi_response": "🙂", "llama_response": "x", "score_difference": 60}
    path = tmp_path / "seed.json"
    path.write_text(json.dumps({"Why?": entry}))
    found = compared(path, None, get_metric("emoji"), 40)
    assert found.scores.answers == 0
    assert found.decisions.counts == {"source/source": 1}


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    first = judged(tmp_path / "a.json", result("A", 90, 10))
    with pytest.raises(ConfigError, match=r"a second results\.json, or --metric"):
        compared(first, None, None, 40)
    other = judged(tmp_path / "b.json", result("A", 90, 10, text="else"))
    with pytest.raises(RecordError, match=r"nothing is scored on both sides .1 questions in both, 1 of them with"):
        compared(first, other, None, 40)


def test_the_command(tmp_path: Path) -> None:
    first = judged(tmp_path / "a.json", result("A", 90, 10), result("B", 50, 40))
    second = judged(tmp_path / "b.json", result("A", 80, 20), result("B", 90, 40), result("C", 1, 1))
    done = CliRunner().invoke(APP, [str(first), str(second), "--metric", "emoji"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    for part in ("Pearson r", "Cohen's kappa", "1 questions stand in one file only", "first says neither"):
        assert part in done.output
    done = CliRunner().invoke(APP, [str(first), str(second), "--json", "--threshold", "5"])
    value = json.loads(done.output)
    assert value["decisions"]["agreement"] == 1
    assert value["decisions"]["kappa"] is None
    done = CliRunner().invoke(APP, [str(first), str(second), "--threshold", "5"], env={"COLUMNS": "200"})
    assert "undefined" in done.output
