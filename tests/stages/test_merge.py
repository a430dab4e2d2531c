import json
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from steer_llama.cli.merge import merge
from steer_llama.errors import ConflictError, FileError, InputError, RecordError
from steer_llama.files import write_json
from steer_llama.stages.merge import merge_filtered


def pair(source: str, target: str = "t") -> dict[str, str]:
    return {"pi_response": source, "llama_response": target}


def written(tmp_path: Path, name: str, value: Any) -> Path:
    path = tmp_path / name
    write_json(path, value)
    return path


def test_files_are_merged_in_order(tmp_path: Path) -> None:
    first = written(tmp_path, "a.json", {"A?": pair("a"), "B?": pair("b")})
    second = written(tmp_path, "b.json", {"C?": pair("c"), "A?": dict(reversed(pair("a").items()))})
    merged = merge_filtered([first, second])
    assert list(merged.pairs) == ["A?", "B?", "C?"]
    assert merged.pairs["A?"] == pair("a")
    assert (merged.repeated, merged.conflicts) == (1, [])
    assert merge_filtered([first, first]).pairs == merge_filtered([first]).pairs


def test_contradictions_are_named(tmp_path: Path) -> None:
    first = written(tmp_path, "a.json", {f"{n}?": pair("a") for n in range(5)})
    second = written(tmp_path, "b.json", {f"{n}?": pair("b") for n in range(5)})
    with pytest.raises(ConflictError) as caught:
        merge_filtered([first, second])
    text = str(caught.value)
    assert text.startswith(f"5 questions have different answers: '0?' ({first} and {second}); '1?' (")
    assert "and 2 more. Say whose answers stay with --keep first or --keep last" in text
    assert caught.value.exit_code == 2


def test_contradictions_can_be_settled(tmp_path: Path) -> None:
    paths = [written(tmp_path, f"{text}.json", {"A?": pair(text), "B?": pair("b")}) for text in "xyz"]
    first, last = merge_filtered(paths, "first"), merge_filtered(paths, "last")
    assert (first.pairs["A?"], last.pairs["A?"]) == (pair("x"), pair("z"))
    assert first.conflicts == last.conflicts == ["A?"]


def test_files_of_other_arms(tmp_path: Path) -> None:
    first = written(tmp_path, "a.json", {"A?": pair("a")})
    second = written(tmp_path, "b.json", {"B?": {"gpt_response": "x", "llama_response": "y"}})
    with pytest.raises(ConflictError, match=r"b\.json has the keys 'gpt_response' and 'llama_response'.*'pi_response'"):
        merge_filtered([first, second], "first")


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        ({}, FileError, "holds no questions"),
        ({"A?": {"pi_response": "x"}}, RecordError, "expected two keys that end in '_response', found 'pi_response'"),
        ({"A?": {**pair("a"), "gpt_response": "x"}}, RecordError, "expected two keys"),
        ({"A?": pair("a"), "B?": {"a_response": "x", "b_response": "y"}}, RecordError, r"'B\?': its keys are 'a_resp"),
        ({"A?": {**pair("a"), "score_difference": 3}}, FileError, "run `steer-llama filter|Run `steer-llama filter"),
    ],
)
def test_files_of_another_shape(tmp_path: Path, value: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        merge_filtered([written(tmp_path, "a.json", value)])


def test_nothing_to_merge() -> None:
    with pytest.raises(InputError, match="at least one"):
        merge_filtered([])


def test_the_command(tmp_path: Path) -> None:
    app = Typer()
    app.command()(merge)
    paths = [written(tmp_path, f"{text}.json", {"A?": pair(text)}) for text in "xy"]
    out = tmp_path / "out.json"
    done = CliRunner().invoke(app, [*map(str, paths), "-o", str(out), "--keep", "last"])
    assert done.exit_code == 0, done.output
    assert "1 contradictions settled by --keep last" in done.output.replace("\n", " ")
    assert json.loads(out.read_text()) == {"A?": pair("y")}
    failed = CliRunner().invoke(app, [*map(str, paths), "-o", str(tmp_path / "none.json")])
    assert isinstance(failed.exception, ConflictError)
    assert not (tmp_path / "none.json").exists()
