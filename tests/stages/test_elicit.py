from pathlib import Path

import pytest

from steer_llama.config import Config
from steer_llama.elicitations import read_elicitation
from steer_llama.errors import ConfigError, RecordError
from steer_llama.files import write_json
from steer_llama.progress import SilentReporter
from steer_llama.rundir import RunDir
from steer_llama.stages.elicit import STAGE

TRAIT = {"name": "Rude", "trait_instruction": "Rude: …"}


def config(**more: object) -> Config:
    arms = {"source": {"name": "pi", "kind": "local"}, "target": {"name": "llama", "kind": "local"}}
    return Config.model_validate({**arms, **more})


def trait_file(tmp_path: Path) -> Path:
    path = tmp_path / "rude.json"
    write_json(path, TRAIT)
    return path


def questions_file(tmp_path: Path, count: int, name: str = "asked.json") -> Path:
    path = tmp_path / name
    write_json(path, {"questions": [f"{number}?" for number in range(count)], "eval prompt": "x"})
    return path


def test_a_packaged_trait(tmp_path: Path) -> None:
    reporter = SilentReporter()
    with RunDir(tmp_path).open() as run:
        STAGE.run(config(trait="emoji"), run, reporter)
    written = read_elicitation(tmp_path / "elicitation.json")
    packaged = read_elicitation("emoji")
    assert written.questions == packaged.questions
    assert written.split is not None
    assert f"{len(written.questions)} questions" in reporter.notes[0]


def test_files_of_the_users_own(tmp_path: Path) -> None:
    asked = config(trait=str(trait_file(tmp_path)), elicitation=questions_file(tmp_path, 10))
    STAGE.run(asked, RunDir(tmp_path), SilentReporter())
    written = read_elicitation(tmp_path / "elicitation.json")
    assert (written.trait, written.eval_prompt) == ("Rude", "x")
    assert written.split is not None
    assert len(written.split.extract) == 5


def test_a_trait_file_wants_questions(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'rude' is a file of its own.* Give 'elicitation'"):
        STAGE.run(config(trait=str(trait_file(tmp_path))), RunDir(tmp_path), SilentReporter())


def test_too_few_questions_are_named(tmp_path: Path) -> None:
    path = questions_file(tmp_path, 2)
    with pytest.raises(RecordError, match="'questions' has 2") as caught:
        STAGE.run(config(elicitation=path), RunDir(tmp_path), SilentReporter())
    assert str(path) in str(caught.value)
    assert not (tmp_path / "elicitation.json").exists()


def test_a_changed_file_is_a_changed_setting(tmp_path: Path) -> None:
    asked = config(elicitation=questions_file(tmp_path, 10))
    before = STAGE.settings(asked)
    assert STAGE.settings(asked) == before
    questions_file(tmp_path, 11)
    assert STAGE.settings(asked) != before
    moved = config(elicitation=questions_file(tmp_path, 10, "moved.json"))
    assert STAGE.settings(moved) == before
