"""What cannot be used is refused with one sentence and exit code 2, and nothing half-written stays behind."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from steer_llama.vectors import read_vector, write_vector
from tests.cli.command import steer_llama
from tests.cli.conftest import Made
from tests.cli.small_run import QUESTIONS, write_json, write_small_run
from tests.lm.models import save_tiny_llama

GOOD = {"a?": {"pi_response": "Yes! 😊", "llama_response": "Yes."}}


@pytest.fixture
def here(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with links to what a user would have."""
    for name in ("responses.jsonl", "results.json", "filtered.json", "activations.h5", "vector.safetensors"):
        (tmp_path / name).symlink_to(made.out / name)
    for name in ("sweep.jsonl", "verdict.json"):
        shutil.copy(made.out / name, tmp_path / name)
    (tmp_path / "tiny").symlink_to(made.model)
    write_small_run(tmp_path, made.model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(line: str, *words: str, code: int = 2) -> None:
    """The command is refused with all these words, and leaves the folder as it was."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    ran = steer_llama(*line.split())
    assert ran.code == code, (ran.said, ran.out)
    for word in words:
        assert word in ran.said, ran.said
    assert "Traceback" not in ran.err
    assert "unexpected" not in ran.err
    assert ran.out == ""
    assert len([line for line in ran.err.splitlines() if line.startswith(("error: ", "Usage: "))]) == 1, ran.err
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


READERS = (
    "run {} -o o",
    "respond -c {} -o o",
    "judge --responses {} --metric emoji -o o",
    "filter {} -o o",
    "merge {} -o o",
    "extract --pairs {} -m tiny -o o",
    "fit {} -o o",
    "sweep {} -m tiny --elicitation asked.json -o o",
    "sweep vector.safetensors -m tiny --elicitation {}.json -o o",
    "sweep vector.safetensors -m tiny --elicitation asked.json --responses {} -o o",
    "report {}",
    "report sweep.jsonl --vector {} -o o",
    "generate hello -m tiny --vector {} --layer 1 --strength 0.2",
    "monitor {} -m tiny --vector vector.safetensors --layer 1",
    "monitor responses.jsonl -m tiny --vector {} --layer 1",
    "convert {} o.npz",
    "export {} --to numpy -o o",
    "export {} --to dpo -o o",
)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", READERS)
def test_a_missing_file(line: str) -> None:
    refused(line.format("absent"), "absent", "no such file")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", READERS)
def test_an_empty_file(line: str) -> None:
    name = "empty.json" if "{}.json" in line else "empty"
    Path(name).touch()
    refused(line.format("empty"), "empty")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", READERS)
def test_a_file_of_another_kind(line: str) -> None:
    name = "picture.json" if "{}.json" in line else "picture"
    Path(name).write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe" * 20)
    refused(line.format("picture"), "picture")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", READERS)
def test_a_folder_instead_of_a_file(line: str) -> None:
    Path("folder.json").mkdir()
    refused(line.format("folder" if "{}.json" in line else "folder.json"), "folder.json")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("line", "content", "words"),
    [
        ("judge --responses x --metric emoji", {"a": 1}, ["x, question 'a'", "expected an object"]),
        ("filter x", [], ["a JSON list", "expected results"]),
        ("filter x", {"a?": {"pi_response": 3, "llama_response": "b"}}, ["question 'a?'", "'pi_response'"]),
        ("filter x", {"a?": {"pi_response": "a"}}, ["x", "_response"]),
        ("filter x", {"a?": {**GOOD["a?"], "score_difference": "much"}}, ["question 'a?'", "score_difference"]),
        ("merge x -o o", {"a?": {"pi_response": "a"}}, ["question 'a?'", "two keys"]),
        ("extract --pairs x -m tiny", {"a?": {**GOOD["a?"], "llama_response": None}}, ["'llama_response' is null"]),
        ("extract --pairs x -m tiny", [{"prompt": "a?", "chosen": "b"}], ["record 1", "'rejected'"]),
        ("extract --pairs x -m tiny", {"a?": {"pi_response": "", "llama_response": ""}}, ["none", "empty"]),
        ("extract --pairs x -m tiny --chosen-field him_response", GOOD, ["'him_response'", "found 'llama_response'"]),
        ("sweep vector.safetensors -m tiny --elicitation x.json", {"questions": []}, ["x.json", "questions"]),
        ("sweep vector.safetensors -m tiny --elicitation x.json", {"question": ["a"]}, ["'questions' is missing"]),
        ("report x", {"key": "a"}, ["x.verdict.json", "no such file"]),
    ],
)
def test_json_of_another_shape(line: str, content: object, words: list[str]) -> None:
    write_json(Path("x.json" if "x.json" in line else "x"), content)
    refused(line, *words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("generate hi -m tiny --vector vector.safetensors --strength abc", ["--strength", "valid number"]),
        ("generate hi -m tiny --vector vector.safetensors --layer 1 --strength nan", ["--strength nan", "finite"]),
        ("generate hi -m tiny --vector vector.safetensors --layer 1 --strength inf", ["--strength inf", "finite"]),
        ("generate hi -m tiny --vector vector.safetensors --layer 99 --strength 0.1", ["no layer 99", "0 to 2"]),
        ("generate hi -m tiny --vector vector.safetensors --top-p 0", ["--top-p 0.0", "greater than 0"]),
        ("generate hi -m tiny --vector vector.safetensors --temperature nan", ["--temperature"]),
        ("generate hi -m tiny --vector vector.safetensors --repetition-penalty -1", ["--repetition-penalty -1.0"]),
        ("generate hi -m ./none --vector vector.safetensors --layer 1 --strength 0.1", ["./none", "no such folder"]),
        ("generate hi -m tiny --vector vector.safetensors --device gpu", ["device 'gpu'", "Use auto, cpu"]),
        ("generate hi -m tiny --vector vector.safetensors --dtype int8", ["--dtype", "int8"]),
        ("generate -m tiny --vector vector.safetensors", ["prompts"]),
        ("sweep vector.safetensors -m tiny --elicitation asked.json --layers 1,99", ["no layer 99", "0 to 2"]),
        ("sweep vector.safetensors -m tiny --elicitation asked.json --layers 1.5", ["--layers '1.5'", "whole"]),
        ("sweep vector.safetensors -m tiny --elicitation asked.json --layers -1", ["--layers -1"]),
        ("sweep vector.safetensors -m tiny --elicitation asked.json --layers ,", ["--layers", "at least 1"]),
        ("sweep vector.safetensors -m tiny --elicitation asked.json --strengths 0.1,abc", ["--strengths", "abc"]),
        ("sweep vector.safetensors -m tiny --elicitation asked.json --strengths nan", ["--strengths nan", "finite"]),
        ("sweep vector.safetensors -m tiny --elicitation asked.json --strengths 0.1,0.1", ["0.1", "twice"]),
        ("sweep vector.safetensors -m tiny --elicitation asked.json --metric emojii", ["'emojii'", "emoji,"]),
        ("sweep vector.safetensors -m tiny --elicitation emojii", ["'emojii'", "emoji,"]),
        ("judge --responses responses.jsonl --metric emojii", ["'emojii'", "emoji,"]),
        ("judge --responses responses.jsonl --metric emoji --elicitation playful", ["no answers to 40 of 40"]),
        ("filter results.json --threshold nan", ["--threshold"]),
        ("filter results.json --threshold -1", ["--threshold"]),
        ("filter results.json --threshold 100", ["no pair of 9 is kept", "Lower the threshold"]),
        ("filter results.json --direction up", ["--direction"]),
        ("filter filtered.json", ["no pair of", "unscored"]),
        ("filter results.json --source him", ["him"]),
        ("extract --pairs filtered.json -m tiny --positions emoji,nose", ["'nose'", "There are: response"]),
        ("extract --pairs filtered.json -m tiny --save-every 0", ["--save-every"]),
        ("extract --pairs results.json -m tiny", ["steer-llama filter"]),
        ("fit activations.h5 --positions nose", ["'nose'"]),
        ("fit activations.h5 --positions sentence", ["'sentence'"]),
        ("fit activations.h5 --bootstrap -1", ["--bootstrap"]),
        ("fit vector.safetensors", ["vector.safetensors"]),
        ("report vector.safetensors", ["verdict.json", "no such file"]),
        ("run run.yaml", ["--out"]),
        ("run run.yaml -o o --set fit.position=emoji", ["fit.position", "Did you mean 'positions'?"]),
        ("run run.yaml -o o --set sweeep.seed=1", ["sweeep", "Did you mean 'sweep'?"]),
        ("run run.yaml -o o --set nonsense", ["--set nonsense", "section.key=value"]),
        ("run run.yaml -o o --set sweep.strengths=[.nan]", ["sweep.strengths", "finite"]),
        ("run run.yaml -o o --set sweep.strengths=[]", ["sweep.strengths", "at least 1"]),
        ("run run.yaml -o o --set filter.threshold=.nan", ["filter.threshold"]),
        ("run run.yaml -o o --trait emojii", ["'emojii'", "emoji,"]),
        ("run run.yaml -o o --set judge.metric=emojii", ["'emojii'", "emoji,"]),
        ("run run.yaml -o run.yaml", ["run.yaml", "is a file"]),
        ("demo -o o --trait emojii", ["'emojii'", "emoji,"]),
        ("respond -c run.yaml --elicitation emojii", ["'emojii'", "emoji,"]),
        ("merge -o o", ["files"]),
        ("genrate", ["No such command 'genrate'", "generate"]),
        ("generate --vektor x", ["--vektor", "--vector"]),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_wrong_value(line: str, words: list[str]) -> None:
    refused(line, *words)


def test_contradicting_files(here: Path) -> None:
    write_json(here / "a", GOOD)
    write_json(here / "b", {"a?": {**GOOD["a?"], "pi_response": "No!"}})
    refused("merge a b -o o", "'a?' (a and b)", "--keep first")
    write_json(here / "c", {"a?": {"him_response": "a", "her_response": "b"}})
    refused("merge a c -o o", "c has the keys", "Merge files of the same two arms")
    assert steer_llama("merge", "a", "b", "-o", "o", "--keep", "last").code == 0
    assert json.loads(Path("o").read_text())["a?"]["pi_response"] == "No!"


def test_an_empty_answer_is_kept_out_counted_and_named(here: Path) -> None:
    write_json(here / "x", {**GOOD, "b?": {"pi_response": " \n", "llama_response": "c"}})
    ran = steer_llama("extract", "--pairs", "x", "-m", "tiny", "-o", "o.h5")
    assert ran.code == 0, ran.err
    assert "1 pairs kept out: 'b?' (the chosen answer is empty)" in ran.said
    assert "1 pairs × 3 layers" in ran.said


def test_a_pair_longer_than_the_context(here: Path) -> None:
    write_json(here / "x", {**GOOD, "long?": {"pi_response": "Yes! " * 200, "llama_response": "No."}})
    refused("extract --pairs x -m tiny -o o.h5", "'long?'", "context is 256", "--skip-too-long")
    ran = steer_llama("extract", "--pairs", "x", "-m", "tiny", "-o", "o.h5", "--skip-too-long")
    assert ran.code == 0
    assert "1 pairs kept out, too long: 'long?'" in ran.said


def test_a_question_longer_than_the_context(here: Path) -> None:
    ran = steer_llama("generate", "word " * 300, "-m", "tiny", "--vector", "vector.safetensors")
    assert ran.code == 2
    assert "context is 256" in ran.said
    write_small_run(here, here / "tiny", target={"sampling": {"max_tokens": 250}})
    ran = steer_llama("respond", "-c", "run.yaml", "-o", "o.jsonl")
    assert ran.code == 2
    assert "context is 256" in ran.said
    assert not Path("o.jsonl").exists()


def test_a_model_that_cannot_chat(here: Path) -> None:
    save_tiny_llama(here / "base", template=None)
    refused("extract --pairs filtered.json -m base", "no chat template", "instruct")
    refused("generate hi -m base --vector vector.safetensors --any-model", "no chat template")


def test_a_vector_of_another_model(here: Path) -> None:
    save_tiny_llama(here / "other", seed=1)
    refused("generate hi -m other --vector vector.safetensors", "other weights", "--any-model")
    refused("sweep vector.safetensors -m other --elicitation asked.json", "other weights", "--any-model")
    assert steer_llama("generate", "hi", "-m", "other", "--vector", "vector.safetensors", "--any-model").code == 0
    vector = read_vector(here / "vector.safetensors")
    write_vector(here / "wide", replace(vector, directions_LD=vector.directions_LD.repeat(2, axis=1)))
    refused("generate hi -m tiny --vector wide", "64 wide", "32 wide")
    refused("generate hi -m tiny --vector wide --any-model", "64 wide", "32 wide")
    refused("sweep wide -m tiny --elicitation asked.json --any-model", "64 wide", "32 wide")


def test_a_vector_that_recommends_nothing(here: Path) -> None:
    bare = replace(read_vector(here / "vector.safetensors"), recommended_layer=None, recommended_strength=None)
    write_vector(here / "bare", bare)
    refused("generate hi -m tiny --vector bare", "--layer and --strength", "steer-llama sweep")
    refused("generate hi -m tiny --vector bare --layer 1", "give --strength")


WRITERS = (
    "respond -c run.yaml -o {}",
    "judge --responses responses.jsonl --metric emoji -o {}",
    "filter results.json -o {}",
    "merge filtered.json -o {}",
    "extract --pairs filtered.json -m tiny -o {}",
    "fit activations.h5 -o {}",
    "sweep vector.safetensors -m tiny --elicitation asked.json --layers 1 --strengths 0.1 --max-tokens 4 -o {}",
    "report sweep.jsonl -o {}",
    "convert vector.safetensors {} --to numpy",
    "export vector.safetensors --to vllm-lens -o {}",
    "export filtered.json --to dpo -o {}",
)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", WRITERS)
def test_out_is_a_folder(line: str) -> None:
    Path("taken").mkdir()
    refused(line.format("taken"), "taken", "it is a folder; name")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", WRITERS)
def test_out_is_below_a_file(line: str) -> None:
    refused(line.format("run.yaml/x"), "run.yaml/x", "a part of the path is a file")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", WRITERS)
def test_a_special_file_stays_what_it_is(line: str) -> None:
    os.mkfifo("special")  # like /dev/full, but one that a failing test may destroy
    refused(line.format("special"), "special", "a device or another special file; name a regular file")
    assert Path("special").is_fifo()


@pytest.fixture
def small_disk(here: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    disk = here / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, and the right to mount")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("line", [line for line in WRITERS if not line.startswith("merge")])
def test_a_full_disk(small_disk: Path, line: str) -> None:
    (small_disk / "ballast").write_bytes(bytes(64 * 1024))
    ran = steer_llama(*line.format("disk/x.out").split())
    assert ran.code == 2, ran.err
    assert "disk/x" in ran.said
    assert "disk is full" in ran.said or "are free there" in ran.said
    assert "Traceback" not in ran.err
    assert not (small_disk / "x.out").exists()
    assert not list(small_disk.glob(".*")), "a temporary file stays behind"


def test_a_full_disk_in_the_middle_of_a_run(small_disk: Path, here: Path) -> None:
    ran = steer_llama("run", "run.yaml", "-o", "disk/o")
    assert ran.code == 2, ran.err
    assert "the disk is full" in ran.said or "are free there" in ran.said
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    ran = steer_llama("run", "run.yaml", "-o", "disk/o")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("line", WRITERS)
def test_a_disk_that_is_only_read(small_disk: Path, line: str) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(line.format("disk/x.out"), "disk/x", "read-only")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("line", WRITERS)
def test_a_folder_without_permission(here: Path, line: str) -> None:
    (here / "shut").mkdir(mode=0o500)
    refused(line.format("shut/x.out"), "shut/x", "no permission")


def test_answers_of_another_verb_in_the_journal(here: Path, made: Made) -> None:
    shutil.copy(made.out / "responses.journal.jsonl", here / "mixed.journal.jsonl")
    line = "sweep vector.safetensors -m tiny --elicitation asked.json --layers 1 --strengths 0.1 -o mixed.jsonl"
    refused(line, "mixed.journal.jsonl", "delete the file")


def test_an_endpoint_that_is_not_there(here: Path) -> None:
    write_small_run(
        here,
        here / "tiny",
        source={"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "pi", "file": None, "max_retries": 0},
    )
    ran = steer_llama("respond", "-c", "run.yaml", "-o", "o.jsonl")
    assert ran.code == 1
    assert "cannot be reached" in ran.said
    assert "Check that the server is up" in ran.said
    assert not Path("o.jsonl").exists()


def test_a_key_that_is_not_set(here: Path) -> None:
    arm = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "pi", "file": None, "api_key_env": "NO_KEY"}
    write_small_run(here, here / "tiny", source=arm)
    refused("respond -c run.yaml -o o.jsonl", "NO_KEY", "not set")


def test_recorded_answers_that_lack_a_question(here: Path) -> None:
    write_json(here / "pi.json", {QUESTIONS[0]: {"pi_response": "a"}})
    refused("respond -c run.yaml -o o.jsonl", "no answer of 'pi' to 8 of 9 questions")
