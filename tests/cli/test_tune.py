"""`tune` from end to end on a tiny model: two vectors, eleven answers a combination, and a kill."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_llama.files import digest_file
from steer_llama.records import tuned as records
from steer_llama.style import get_metric
from steer_llama.vectors import SteeringVector, read_vector, write_vector
from tests.cli.command import Ran, Started, steer_llama
from tests.cli.conftest import Made

TRIALS = 6


@pytest.fixture(scope="module")
def files(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run's own vector, and another at the same layer that recommends nothing."""
    folder = tmp_path_factory.mktemp("vectors")
    own = read_vector(made.out / "vector.safetensors")
    directions_LD = np.random.default_rng(5).standard_normal(own.directions_LD.shape).astype(np.float32)
    other = SteeringVector(
        directions_LD, own.layers, own.residual_norm_L, own.model, own.model_fingerprint, "playful", "mean_diff", "all"
    )
    write_vector(folder / "other.safetensors", other)
    return made.out / "vector.safetensors", folder / "other.safetensors"


def argv(made: Made, files: tuple[Path, Path], out: Path, *more: object) -> list[object]:
    layer = read_vector(files[0]).recommended_layer
    vectors = ["--vector", f"emoji={files[0]}", "--vector", f"playful@{layer}={files[1]}"]
    asked = ["--elicitation", made.config.with_name("asked.json"), "--responses", made.out / "responses.jsonl"]
    small = ["--sampler", "tpe", "--max-tokens", 6, "--trials", TRIALS, "--min-coherence", 0, "--device", "cpu"]
    bounds = ["--bounds", "-0.5,0.5", "--bounds", "playful=-2,2"]
    return ["tune", "-m", made.model, *vectors, *asked, *small, *bounds, "-o", out, *more]


def keys_in(journal: Path) -> list[str]:
    return [json.loads(line)["key"] for line in journal.read_text().splitlines()] if journal.exists() else []


@pytest.fixture(scope="module")
def ran(made: Made, files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    out = tmp_path_factory.mktemp("tuned") / "steers.json"
    return steer_llama(*argv(made, files, out, "--null", 1)), out


def test_what_is_written(made: Made, files: tuple[Path, Path], ran: tuple[Ran, Path]) -> None:
    done, out = ran
    assert done.code == 0, done.err
    tuned = json.loads(out.read_text())
    emoji, other = read_vector(files[0]), read_vector(files[1])
    assert tuned["model_fingerprint"] == emoji.model_fingerprint
    assert (tuned["dev_questions"], tuned["test_questions"]) == (2, 3)
    by_name = dict(zip(("emoji", "playful"), (emoji, other), strict=True))
    for steer in tuned["steers"]:
        vector = by_name[steer["name"]]
        path = (out.parent / steer["path"]).resolve()
        assert path == files[list(by_name).index(steer["name"])].resolve()
        assert steer["digest"] == digest_file(path)
        added_D = steer["coefficient"] * vector.direction_D(steer["layer"])
        np.testing.assert_allclose(added_D, vector.scaled_D(steer["layer"], steer["strength"]), rtol=1e-5)
    assert [vector["metric"] for vector in tuned["vectors"]] == ["emoji", "playful"]
    assert [vector["recommended"] for vector in tuned["vectors"]] == [emoji.recommended_strength, None]
    assert [(vector["low"], vector["high"]) for vector in tuned["vectors"]] == [(-0.5, 0.5), (-2, 2)]
    assert tuned["sentence"] in " ".join(done.err.split()) or tuned["sentence"] in " ".join(done.out.split())


def test_it_is_never_worse_than_what_is_always_tried(ran: tuple[Ran, Path]) -> None:
    tuned = json.loads(ran[1].read_text())
    fixed = [tried for tried in tuned["tried"] if not tried["suggested"]]
    combinations = [tried["strengths"] for tried in fixed]
    recommended, alone = tuned["vectors"][0]["recommended"], tuned["vectors"][1]["best_alone"]
    naive = {"emoji": recommended, "playful": alone} if alone else {"emoji": recommended}
    assert {} in combinations
    assert {"emoji": recommended} in combinations
    assert {"playful": 2.0} in combinations
    assert naive in combinations
    assert sum(tried["suggested"] for tried in tuned["tried"]) == TRIALS
    assert tuned["distance"] == min(tried["distance"] for tried in tuned["tried"] if tried["eligible"])
    chosen = {steer["name"]: steer["strength"] for steer in tuned["steers"]}
    assert chosen in [tried["strengths"] for tried in tuned["tried"] if tried["distance"] == tuned["distance"]]


def test_the_confirmation_and_the_null(ran: tuple[Ran, Path]) -> None:
    tuned = json.loads(ran[1].read_text())
    arms = ["unsteered", "tuned", "recommended", "alone", "alone", "null"]
    assert [arm["arm"] for arm in tuned["arms"]] == arms
    assert [margin["over"] for margin in tuned["margins"]] == [
        "unsteered",
        "added as recommended",
        "emoji alone, at its best",
        "playful alone, at its best",
        "random directions 1, tuned",
    ]
    assert len(tuned["null_tried"]) == 1
    assert len(tuned["null_tried"][0]) >= len([tried for tried in tuned["tried"] if not tried["suggested"]])
    lines = [json.loads(line) for line in ran[1].with_name("steers.journal.jsonl").read_text().splitlines()]
    assert {line["arm"] for line in lines} == {"unsteered", "steered", "random"}
    assert len({line["key"] for line in lines}) == len(lines)


def test_interference_is_of_the_answers_that_were_written(ran: tuple[Ran, Path]) -> None:
    """Against the answers themselves: the effect of the combination on a trait, by hand."""
    tuned = json.loads(ran[1].read_text())
    chosen = {steer["name"]: steer["strength"] for steer in tuned["steers"]}
    (recommended,) = (arm["strengths"] for arm in tuned["arms"] if arm["arm"] == "recommended")
    whole = chosen if len(chosen) == 2 else recommended
    assert tuned["interference"]["strengths"] == whole
    lines = [json.loads(line) for line in ran[1].with_name("steers.journal.jsonl").read_text().splitlines()]

    def score(strengths: dict[str, float], metric: str) -> dict[str, Any]:
        return {
            line["question"]: get_metric(metric).score(line["text"])
            for line in lines
            if line["split"] == "test" and line["strengths"] == strengths and line["arm"] != "random"
        }

    for each in tuned["interference"]["additivity"]:
        with_it, plain = score(whole, each["trait"]), score({}, each["trait"])
        gaps = [with_it[q] - plain[q] for q in plain if None not in (with_it[q], plain[q])]
        assert each["together"]["n"] == len(gaps)
        if gaps:
            assert each["together"]["mean"] == pytest.approx(np.mean(gaps))
    assert {(e["vector"], e["trait"]) for e in tuned["interference"]["effects"]} == {
        (vector, trait) for vector in ("emoji", "playful") for trait in ("emoji", "playful")
    }
    (cosine,) = tuned["interference"]["cosines"]
    assert -1 <= cosine["cosine"] <= 1


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_and_writes_nothing_twice(
    made: Made, files: tuple[Path, Path], ran: tuple[Ran, Path], tmp_path: Path
) -> None:
    out = tmp_path / "steers.json"
    journal = tmp_path / "steers.journal.jsonl"
    command = argv(made, files, out, "--null", 1, "--batch-size", 4)
    started = Started(tmp_path, *command)
    fixed = 11 * 2  # past the fixed points, so that the search itself has to be taken up again
    started.wait_until(lambda: len(keys_in_whole(journal)) > fixed + 4)
    started.send(signal.SIGKILL)
    assert started.finish().code == -signal.SIGKILL
    assert not out.exists()
    before = journal.read_bytes().rpartition(b"\n")[0].splitlines()
    again = steer_llama(*command)
    assert again.code == 0, again.err
    after = journal.read_bytes().splitlines()
    assert after[: len(before)] == before
    assert len(set(keys_in(journal))) == len(after)
    assert sorted(keys_in(journal)) == sorted(keys_in(ran[1].with_name("steers.journal.jsonl")))
    mine, whole = json.loads(out.read_text()), json.loads(ran[1].read_text())
    assert [tried["strengths"] for tried in mine["tried"]] == [tried["strengths"] for tried in whole["tried"]]
    assert [steer["strength"] for steer in mine["steers"]] == [steer["strength"] for steer in whole["steers"]]
    finished = out.read_bytes()
    assert steer_llama(*command).code == 0
    assert out.read_bytes() == finished
    assert journal.read_bytes().splitlines() == after


def keys_in_whole(journal: Path) -> list[str]:
    if not journal.exists():
        return []
    return [json.loads(line)["key"] for line in journal.read_bytes().rpartition(b"\n")[0].splitlines()]


def test_more_answers_to_a_dev_question(made: Made, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    done = steer_llama(*argv(made, files, out, "--dev-samples", 2, "--trials", 0, "--test-samples", 3))
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in out.with_name("s.journal.jsonl").read_text().splitlines()]
    for split, samples, questions in (("dev", 2, 2), ("test", 3, 3)):
        unsteered = [line for line in lines if line["split"] == split and not line["strengths"]]
        assert len({(line["question"], line["sample"]) for line in unsteered}) == samples * questions


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--vector", "x@y=v.safetensors"], "NAME@LAYER=FILE"),
        (["--bounds", "emoji=0.1,0.5"], "must have 0"),
        (["--bounds", "emoji=-0.01,0.01"], "lies outside the bounds"),
        (["--bounds", "emoji=0.5"], "expected LOW,HIGH"),
        (["--bounds", "nobody=0,1"], "once for a NAME of --vector"),
        (["--metric", "playful=nonsense"], "no metric 'nonsense'"),
        (["--metric", "nobody=emoji"], "--metric"),
        (["--top-p", "2"], "--top-p"),
        (["--elicitation", "formatting"], "questions of formatting"),
    ],
)
def test_what_cannot_be_used_is_refused(
    made: Made, files: tuple[Path, Path], tmp_path: Path, more: list[str], says: str
) -> None:
    command = argv(made, files, tmp_path / "s.json")
    if "--bounds" in more:
        at = command.index("--bounds")
        del command[at : at + 4]
    done = steer_llama(*command, *more)
    assert (done.code, says in done.said) == (2, True), done.said
    assert not (tmp_path / "s.json").exists()


def test_one_vector_is_for_sweep(made: Made, files: tuple[Path, Path], tmp_path: Path) -> None:
    command = argv(made, files, tmp_path / "s.json")
    for flag in ("--vector", "--bounds"):
        at = len(command) - 1 - command[::-1].index(flag)  # the second vector's
        del command[at : at + 2]
    done = steer_llama(*command)
    assert (done.code, "steer-llama sweep" in done.said) == (2, True), done.said


def test_a_vector_without_a_layer_or_of_other_weights(made: Made, files: tuple[Path, Path], tmp_path: Path) -> None:
    layer = read_vector(files[0]).recommended_layer
    command = [str(part).replace(f"playful@{layer}=", "playful=") for part in argv(made, files, tmp_path / "s.json")]
    done = steer_llama(*command)
    assert (done.code, "recommends no layer" in done.said) == (2, True), done.said
    write_vector(tmp_path / "odd.safetensors", replace(read_vector(files[1]), model_fingerprint="another"))
    done = steer_llama(*argv(made, (files[0], tmp_path / "odd.safetensors"), tmp_path / "s.json"))
    assert (done.code, "other weights" in done.said) == (2, True), done.said


@pytest.mark.parametrize(
    "record",
    [
        "Tuned",
        "TunedVector",
        "TunedSteer",
        "Tried",
        "TunedArm",
        "Margin",
        "Interference",
        "Cosine",
        "Effect",
        "Additivity",
        "Kept",
    ],
)
def test_formats_page_names_every_key(record: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    section = page.partition("## Several vectors: `steers.json`")[2].partition("\n## ")[0]
    missing = [key for key in getattr(records, record).model_fields if f"`{key}`" not in section]
    assert not missing, f"docs/formats.md says nothing of {record}'s {missing}"
