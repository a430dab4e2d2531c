import json
from pathlib import Path
from typing import Any

import pytest

from steer_llama.elicitations import read_elicitation, read_trait, with_split
from steer_llama.errors import ConfigError, FileError, RecordError
from steer_llama.files import write_json
from steer_llama.records import Elicitation, Split


def questions(count: int) -> tuple[str, ...]:
    return tuple(f"question {number}?" for number in range(count))


def written(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "file.json"
    write_json(path, value)
    return path


def test_a_trait_by_name_and_by_path(tmp_path: Path) -> None:
    assert read_trait("emoji").metric == "emoji"
    path = written(tmp_path, {"name": "Rude", "trait_instruction": "Rude: …", "theirs": 1})
    assert read_trait(path).name == read_trait(str(path)).name == "Rude"


@pytest.mark.parametrize("name", ["emoji", "formatting", "playful"])
def test_packaged_elicitations(name: str) -> None:
    elicitation = read_elicitation(name)
    assert len(elicitation.questions) >= 3
    assert with_split(elicitation).split is not None


@pytest.mark.parametrize("key", ["eval prompt", "eval_prompt"])
def test_the_seeds_and_the_persona_vectors_files(tmp_path: Path, key: str) -> None:
    value = {"instruction": [{"pos": "do", "neg": "do not"}], "questions": ["a?", "b?"], key: "Judge {answer}"}
    elicitation = read_elicitation(written(tmp_path, value))
    assert elicitation.eval_prompt == "Judge {answer}"
    assert elicitation.instruction[0].pos == "do"
    assert elicitation.questions == ("a?", "b?")


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match="no packaged trait 'rude'"):
        read_trait("rude")
    with pytest.raises(ConfigError, match="no packaged elicitation 'rude'"):
        read_elicitation("rude")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"trait_instruction": "x"}, "the key 'name' is missing"),
        ({"name": " ", "trait_instruction": "x"}, "'name' is empty"),
        ({"name": 3, "trait_instruction": "x"}, r"name: input should be a valid string \(found 3\)"),
        ([], "a JSON list"),
    ],
)
def test_a_wrong_trait_is_named(tmp_path: Path, value: Any, says: str) -> None:
    path = written(tmp_path, value)
    with pytest.raises(RecordError, match=says) as caught:
        read_trait(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "the key 'questions' is missing"),
        ({"questions": []}, "questions: tuple should have at least 1 item"),
        ({"questions": ["a?", " "]}, "question 2 is empty"),
        ({"questions": ["a?", "a?"]}, r"the question 'a\?' stands twice"),
        ({"questions": ["a?"], "instruction": [{"pos": "x"}]}, r"the key 'instruction\.0\.neg' is missing"),
        ({"questions": ["a?"], "split": {"extract": [], "dev": [], "test": []}}, r"differ, first at 'a\?'"),
    ],
)
def test_a_wrong_elicitation_is_named(tmp_path: Path, value: Any, says: str) -> None:
    path = written(tmp_path, value)
    with pytest.raises(RecordError, match=says) as caught:
        read_elicitation(path)
    assert str(path) in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        read_trait(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(FileError, match="not JSON at line 1"):
        read_elicitation(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("count", "sizes"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (5, (2, 1, 2)), (10, (5, 2, 3)), (40, (20, 8, 12))]
)
def test_the_sizes_of_a_split(count: int, sizes: tuple[int, int, int]) -> None:
    split = with_split(Elicitation(questions=questions(count))).split
    assert split is not None
    assert (len(split.extract), len(split.dev), len(split.test)) == sizes


def test_a_split_depends_on_the_questions_alone() -> None:
    split = with_split(Elicitation(questions=questions(10))).split
    turned = with_split(Elicitation(questions=questions(10)[::-1], trait="other")).split
    assert split is not None
    assert turned is not None
    assert set(split.extract) == set(turned.extract)
    assert split.extract == tuple(q for q in questions(10) if q in split.extract)
    assert split.test == ("question 4?", "question 6?", "question 8?")


def test_a_given_split_stays(tmp_path: Path) -> None:
    split = Split(extract=("c?",), dev=("a?",), test=("b?",))
    given = Elicitation(questions=("a?", "b?", "c?"), split=split)
    assert with_split(given) == given
    value = {"questions": ["a?"], "split": {"extract": ["a?"], "dev": [], "test": []}}
    with pytest.raises(RecordError, match=r"here: 'split\.dev' is empty"):
        with_split(read_elicitation(written(tmp_path, value)), "here")


def test_too_few_questions_to_split() -> None:
    with pytest.raises(RecordError, match=r"file\.json: 'questions' has 2; expected at least 3"):
        with_split(Elicitation(questions=("a?", "b?")), "file.json")


def test_a_split_survives_the_file(tmp_path: Path) -> None:
    whole = with_split(Elicitation(questions=questions(5), eval_prompt="x"))
    path = tmp_path / "elicitation.json"
    path.write_text(json.dumps(whole.model_dump(mode="json")))
    assert read_elicitation(path) == whole
