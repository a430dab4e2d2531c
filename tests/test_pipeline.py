import json
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from steer_llama.config import load_config
from steer_llama.errors import ConfigError
from steer_llama.pipeline import STAGES, run
from steer_llama.progress import ConsoleReporter
from steer_llama.rundir import RunDir
from steer_llama.vectors import read_vector
from tests.cli.command import Started, one_thread
from tests.cli.small_run import QUESTIONS, write_json, write_small_run
from tests.lm.models import save_tiny_llama

NAMES = [stage.name for stage in STAGES]
FILES = {
    *("elicitation.json", "responses.jsonl", "results.json", "filtered.json", "activations.h5"),
    *("vector.safetensors", "sweep.jsonl", "verdict.json", "report.html"),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with one_thread():
        yield save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``run.yaml`` and a finished run of it in ``out``."""
    folder = tmp_path_factory.mktemp("finished")
    assert go(write_small_run(folder, tiny)) == NAMES
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished run to play with (times and all)."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy" / "run.yaml"


class Watcher(ConsoleReporter):
    """Remembers which stages ran."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []
        self.skipped: list[str] = []

    def stage(self, title: str):
        self.ran.append(title)
        return super().stage(title)

    def done_before(self, title: str) -> None:
        self.skipped.append(title)


def go(config: Path, *changes: str) -> list[str]:
    """Run and say which stages had something to do."""
    watcher = Watcher()
    run(load_config(config, changes), RunDir(config.parent / "out"), watcher)
    assert sorted([*watcher.ran, *watcher.skipped]) == sorted(NAMES)
    return watcher.ran


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def substance(out: Path) -> dict[str, object]:
    """What a run came to, without what may differ from run to run (the order in journals, HDF5's own bytes)."""
    found: dict[str, object] = {
        name: (out / name).read_text(encoding="utf-8")
        for name in sorted(FILES)
        if name.endswith((".json", ".jsonl", ".html"))
    }
    vector = read_vector(out / "vector.safetensors")
    found["vector"] = (vector.directions_LD.tolist(), vector.recommended_layer, vector.recommended_strength)
    with h5py.File(out / "activations.h5") as file:
        means: dict[str, bytes] = {}
        file["means"].visititems(
            lambda name, item: means.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
        assert len(means) >= 4
        found["means"] = means
    return found


def test_the_whole_way(finished: Path) -> None:
    out = finished / "out"
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} >= FILES
    responses = [json.loads(line) for line in (out / "responses.jsonl").read_text().splitlines()]
    assert [row["question"] for row in responses[::2]] == list(QUESTIONS)
    assert {(row["arm"], row["role"]) for row in responses} == {("pi", "source"), ("llama", "target")}
    filtered = json.loads((out / "filtered.json").read_text())
    split = json.loads((out / "elicitation.json").read_text())["split"]
    assert set(filtered) <= set(split["extract"]), "a held-out question was extracted from"
    assert all(set(entry) == {"pi_response", "llama_response"} for entry in filtered.values())
    verdict = json.loads((out / "verdict.json").read_text())
    vector = read_vector(out / "vector.safetensors")
    assert vector.directions_LD.shape == (3, 32)
    assert np.linalg.norm(vector.directions_LD, axis=1).min() > 0
    if verdict["winner"] is None:
        assert vector.recommended_layer is None
    else:
        assert vector.recommended_layer == verdict["winner"]["layer"]
    assert verdict["sentence"].split(":")[0] in (out / "report.html").read_text(encoding="utf-8")
    assert not list(out.glob("*.partial"))
    assert not list(out.glob(".*.tmp"))


def test_again_touches_nothing(copied: Path) -> None:
    before = times(copied.parent / "out")
    assert go(copied) == []
    after = times(copied.parent / "out")
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {".steer-llama.lock"}


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ("sweep.strengths=[0.5]", ["sweep", "report"]),
        ("report.examples=1", ["report"]),
        ("filter.threshold=30", ["filter"]),  # the pairs that are kept stay the same
        ("fit.positions=emoji", ["fit", "sweep", "report"]),
        ("fit.bootstrap=10", ["fit", "sweep", "report"]),
        ("extract.tokens=true", ["extract", "fit", "sweep", "report"]),
        ("judge.metric=exclamation", NAMES[2:]),  # keeps another pair
        ("source.concurrency=3", []),
        ("target.batch_size=3", []),
        ("sweep.batch_size=3", []),
    ],
)
def test_a_changed_setting_runs_what_follows_from_it(copied: Path, change: str, stages: list[str]) -> None:
    assert go(copied, change) == stages
    assert go(copied, change) == []


def test_back_and_forth_asks_nothing_anew(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = substance(copied.parent / "out")
    assert go(copied, "target.sampling.seed=5")[0] == "respond"
    assert substance(copied.parent / "out") != before
    monkeypatch.setattr("steer_llama.stages.respond.open_endpoint", None)  # calling it would fail
    assert go(copied)[0] == "respond"
    assert substance(copied.parent / "out") == before


def test_a_deleted_file_is_made_again_and_nothing_more(copied: Path) -> None:
    out = copied.parent / "out"
    before = substance(out)
    (out / "activations.h5").unlink()
    assert go(copied) == ["extract"]
    assert substance(out) == before
    (out / "report.html").unlink()
    assert go(copied) == ["report"]
    (out / "responses.jsonl").unlink()
    assert go(copied) == ["respond"]
    assert substance(out) == before


@pytest.mark.parametrize("name", sorted(FILES - {"activations.h5", "vector.safetensors"}))
def test_a_tampered_file_is_noticed(copied: Path, name: str) -> None:
    out = copied.parent / "out"
    before = substance(out)
    with (out / name).open("a") as file:
        file.write(" \n")
    assert go(copied) != []
    assert substance(out) == before
    assert go(copied) == []


def test_other_weights_in_the_same_folder_are_noticed(copied: Path, tmp_path: Path) -> None:
    folder = save_tiny_llama(tmp_path / "mine")
    assert go(copied, f"model.path={folder}")[0] == "respond"
    save_tiny_llama(folder, seed=1)
    assert go(copied, f"model.path={folder}")[0] == "respond"


def test_recorded_answers_that_changed_are_noticed(copied: Path) -> None:
    path = copied.parent / "pi.json"
    answers = json.loads(path.read_text())
    answers[QUESTIONS[0]]["pi_response"] = "Another 🙂🙂🙂 answer"
    write_json(path, answers)
    assert go(copied)[0] == "respond"
    assert "Another 🙂🙂🙂 answer" in (copied.parent / "out" / "responses.jsonl").read_text()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (["judge.metric=emojii"], "'emojii'"),
        (["fit.positions=emojii"], "'emojii': unknown"),
        (["extract.positions=[emojii]"], "'emojii': unknown"),
        (["extract.positions=[response]", "fit.positions=emoji"], "extract.positions has no emoji; add it there"),
        (["trait=emojii"], "'emojii'"),
        (["trait=rude.json", "source.demonstrate=true"], "has no 'demonstration'"),
        (["model.path="], "give 'path'"),
    ],
)
def test_a_wrong_setting_of_a_late_stage_is_told_at_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str], text: str
) -> None:
    config = write_small_run(tmp_path, tiny)
    write_json(tmp_path / "rude.json", {"name": "rude", "trait_instruction": "Be rude.", "metric": "emoji"})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=text):
        go(config, *changes)
    assert not (tmp_path / "out").exists()


def test_a_packaged_trait_by_its_path(tiny: Path, tmp_path: Path) -> None:
    config = write_small_run(tmp_path, tiny, elicitation=None)
    traits = Path(__file__).parents[1] / "traits"
    loaded = load_config(config, (f"trait={traits / 'emoji.json'}",))
    with RunDir(tmp_path / "out").open() as rundir:
        STAGES[0].run(loaded, rundir, ConsoleReporter())
        written = json.loads(rundir.path("elicitation.json").read_text())
    assert len(written["questions"]) == 40
    assert loaded.trait_name == "emoji"


def test_two_at_once_in_one_folder(copied: Path) -> None:
    with RunDir(copied.parent / "out").open():
        second = Started(copied.parent, "run", copied, "-o", copied.parent / "out")
        ran = second.finish()
    assert ran.code == 2
    assert "another steer-llama is at work in this folder" in ran.err
    assert go(copied) == []


def test_killed_at_any_moment_it_comes_to_the_same(finished: Path, copied: Path) -> None:
    out = copied.parent / "out"
    shutil.rmtree(out)
    chance = random.Random(7)
    for name in (
        *(".steer-llama.json", "responses.journal.jsonl", "results.json", "filtered.json", "activations.h5"),
        *("vector.safetensors", "sweep.journal.jsonl", "sweep.jsonl", "report.html"),
    ):
        running = Started(copied.parent, "run", copied, "-o", out)
        running.wait_until((out / name).exists)
        time.sleep(chance.uniform(0, 0.02))
        running.send(signal.SIGKILL)
        running.process.join()
    assert Started(copied.parent, "run", copied, "-o", out).finish().code == 0
    assert substance(out) == substance(finished / "out")
    assert not list(out.glob(".*.tmp"))
    assert not list(out.glob("*.partial*"))


@pytest.mark.parametrize("stage", NAMES)
def test_killed_before_a_stage_is_marked_as_done(copied: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst moment: every file of the stage is written, and the ledger does not know."""
    out = copied.parent / "out"
    reference = substance(out)
    shutil.rmtree(out)
    finish = RunDir.finish

    def killed(self: RunDir, work: object) -> None:
        if work.stage == stage:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        finish(self, work)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            go(copied)
    ran = go(copied)
    assert stage in ran
    assert substance(out) == reference
    assert go(copied) == []


def test_the_folder_can_move(copied: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    copied.parent.rename(moved)
    assert go(moved / "run.yaml") == []
