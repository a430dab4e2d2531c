import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from steer_llama.cli.filter import filter_pairs
from steer_llama.config import Config, FilterSettings
from steer_llama.errors import FileError
from steer_llama.pairs import read_results, write_results
from steer_llama.progress import SilentReporter
from steer_llama.records import Result, SplitName
from steer_llama.rundir import RunDir, Work
from steer_llama.stages.filter import STAGE, filter_results

MAJORITY = FilterSettings()


def result(question: str, difference: float | None, split: SplitName | None = None, text: str = "x") -> Result:
    return Result(
        question=question, source_response=text, target_response="y", score_difference=difference, split=split
    )


def kept(results: list[Result], settings: FilterSettings = MAJORITY) -> list[str]:
    return [one.question for one in filter_results(results, settings).kept]


MIXED = [result("a", 50), result("b", -60), result("c", -70), result("d", 40), result("e", -40), result("f", 40.5)]


def test_a_pair_is_kept_when_it_differs_by_more_than_the_threshold() -> None:
    assert kept([result("a", 40), result("b", 40.01), result("c", 0)]) == ["b"]
    assert kept([result("a", 0), result("b", 0.1)], FilterSettings(threshold=0)) == ["b"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"direction": "source"}, ["a", "f"]),
        ({"direction": "target"}, ["b", "c"]),
        ({"direction": "both"}, ["a", "b", "c", "f"]),
        ({"direction": "majority", "threshold": 50}, ["b", "c"]),
        ({"direction": "majority"}, ["a", "f"]),
    ],
)
def test_directions(settings: dict[str, str], expected: list[str]) -> None:
    assert kept(MIXED, FilterSettings.model_validate(settings)) == expected


def test_the_direction_has_a_reason() -> None:
    assert filter_results(MIXED, MAJORITY).direction_reason == (
        "a tie, which goes to the source (source 2, target 2 of the 4 pairs over the threshold)"
    )
    more = filter_results([*MIXED, result("g", -99)], MAJORITY)
    assert more.direction == "target"
    assert "the target scores higher more often (source 2, target 3" in more.direction_reason
    assert "as asked" in filter_results(MIXED, FilterSettings(direction="both")).direction_reason


def test_every_dropped_pair_has_a_reason() -> None:
    unscored = result("u", None).model_copy(update={"reason": "unscored: source"})
    filtered = filter_results(
        [
            *MIXED,
            unscored,
            result("v", None),
            result("x", 90, "dev"),
            result("y", -90, "test"),
            result("z", 90, text=" "),
        ],
        MAJORITY,
    )
    assert [(one.question, one.kept, one.reason) for one in filtered.results] == [
        ("a", True, None),
        ("b", False, "the target scores higher"),
        ("c", False, "the target scores higher"),
        ("d", False, "the scores do not differ by more than 40"),
        ("e", False, "the scores do not differ by more than 40"),
        ("f", True, None),
        ("u", False, "unscored: source"),
        ("v", False, "unscored"),
        ("x", False, "held out for dev"),
        ("y", False, "held out for test"),
        ("z", False, "an answer is empty"),
    ]
    assert sum(filtered.dropped.values()) == 9
    assert filtered.dropped["the target scores higher"] == 2


def test_questions_to_extract_from_are_candidates() -> None:
    assert kept([result("a", 90, "extract"), result("b", 90)]) == ["a", "b"]


def test_filtering_again_gives_the_same() -> None:
    first = filter_results(MIXED, MAJORITY)
    assert filter_results(first.results, MAJORITY) == first
    assert kept(first.results, FilterSettings(direction="target")) == ["b", "c"]


@pytest.mark.parametrize(
    ("results", "settings", "says"),
    [
        (
            [result("a", 12), result("b", -30), result("c", 5)],
            MAJORITY,
            r"3 candidates 0 differ by more than 40 points; the largest difference \(source − target\) is -30\.0, "
            r"the middle one 12\.0\. Lower the threshold",
        ),
        ([result("a", 90)], FilterSettings(direction="target"), "All of these point the other way"),
        ([result("a", None), result("b", 90, "test")], MAJORITY, "1 × unscored, 1 × held out for test.*None is scored"),
    ],
)
def test_nothing_is_kept(results: list[Result], settings: FilterSettings, says: str) -> None:
    with pytest.raises(FileError, match=says):
        filter_results(results, settings)


def config(threshold: float = 40) -> Config:
    arms = {"source": {"name": "pi", "kind": "local"}, "target": {"name": "llama", "kind": "local"}}
    return Config.model_validate({**arms, "filter": {"threshold": threshold}})


def test_the_stage_amends_the_results_and_leaves_the_judgement_done(tmp_path: Path) -> None:
    judged = Work("judge", {}, (), ("results.json",))
    with RunDir(tmp_path).open() as run:
        run.begin(judged)
        write_results(run.path("results.json"), MIXED, "pi", "llama")
        run.finish(judged)
        for threshold, expected in ((40, 2), (39, 3), (40, 2)):
            work = STAGE.work(config(threshold))
            assert not run.is_done(work)
            run.begin(work)
            reporter = SilentReporter()
            STAGE.run(config(threshold), run, reporter)
            run.finish(work)
            assert run.is_done(judged)
            assert run.is_done(work)
            assert len(json.loads(run.path("filtered.json").read_text())) == expected
            assert reporter.notes[0].startswith(f"kept {expected} of 6 pairs; ")
    results = read_results(tmp_path / "results.json").results
    assert [one.kept for one in results] == [True, False, False, False, False, True]
    assert results[1].reason == "the target scores higher"


def command(*arguments: object) -> tuple[int, str]:
    app = Typer()
    app.command()(filter_pairs)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def test_the_command_only_reads_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_results(path, MIXED, "gpt", "smol")
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    code, output = command(path, "--source", "gpt", "--target", "smol", "--direction", "target")
    assert code == 0, output
    assert "kept: direction 'target', as asked" in output
    assert "dropped: the source scores higher" in output
    assert path.read_bytes() == before
    assert json.loads((tmp_path / "filtered.json").read_text()) == {
        "b": {"gpt_response": "x", "smol_response": "y"},
        "c": {"gpt_response": "x", "smol_response": "y"},
    }


def test_the_command_refuses_an_unknown_direction(tmp_path: Path) -> None:
    assert command(tmp_path / "results.json", "--direction", "up")[0] == 2
