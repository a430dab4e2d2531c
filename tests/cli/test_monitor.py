"""`monitor` as a user runs it: colours, tables, JSON, pages, refusals."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from steer_llama.cli.monitored_view import show, visible
from steer_llama.records import Monitored
from tests.cli.command import one_thread, steer_llama
from tests.cli.conftest import Made
from tests.evaluation.monitored import SAID, axis, monitored

TALK = [
    {"role": "user", "content": "hello [bold]you[/bold]"},
    {"role": "assistant", "content": "the fox 👨‍👩‍👧 é\r\n<b>&amp;"},
]
VECTOR = ("-m", "tiny", "--vector", "vector.safetensors", "--layer", "1")


def shown(found: Monitored, **how: object) -> str:
    file = io.StringIO()
    given: dict[str, object] = {"file": file, "width": 120, "highlight": False, "force_terminal": True}
    show(Console(**(given | {"color_system": "truecolor"} | how)), found, 2)  # type: ignore[arg-type]
    return file.getvalue()


def test_colours() -> None:
    out = shown(monitored(axis("one")))
    blue, orange = r"\x1b\[38;2;0;0;0;48;2;111;141;185m", r"\x1b\[38;2;0;0;0;48;2;208;145;73m"
    assert len(re.findall(blue, out)) > 10, "0.4 of the way from grey to blue"
    assert len(re.findall(orange, out)) > 10, "0.6 of the way from grey to orange"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    for said in SAID:
        assert visible(said) in plain, "exactly, with signs for what a terminal would obey"
    assert "👨‍👩‍👧" in plain
    assert "[bold]x[/bold]" in plain
    assert "\x1b" not in plain
    assert "\x1b[3;4mh\x1b[0m" in out, "the first token of the first message is massive"
    assert "-0.50" in plain
    assert "+0.50" in plain
    assert "im_start" not in plain, "the template's own tokens are left out"


@pytest.mark.parametrize("how", [{"no_color": True}, {"force_terminal": False}, {"color_system": "standard"}])
def test_tables_where_there_are_no_colours(how: dict[str, object]) -> None:
    out = shown(monitored(axis("one")), **how)
    assert "48;2;" not in out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert "strongest tokens, from +0.000 (zero)" in plain
    assert "⟦" in plain
    assert "1 user" in plain
    assert "assistant turns: +0.300 → +0.300" in plain


def test_signs() -> None:
    assert visible("a\n\tb\r\x1b\x7f\x9b\u202e\u2028é👨‍👩‍👧") == "a\n\tb␍␛␡‹U+009B›‹U+202E›‹U+2028›é👨‍👩‍👧"


@pytest.fixture
def here(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "vector.safetensors").symlink_to(made.out / "vector.safetensors")
    (tmp_path / "responses.jsonl").symlink_to(made.out / "responses.jsonl")
    (tmp_path / "tiny").symlink_to(made.model)
    (tmp_path / "talk.json").write_text(json.dumps(TALK))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_a_conversation() -> None:
    with one_thread():
        vectors = "--vector a=vector.safetensors --vector b=vector.safetensors --layer 1 --layer b@2"
        line = f"monitor talk.json -m tiny {vectors}"
        ran = steer_llama(*line.split(), "--json", "o.json", "--html", "o.html")
        assert ran.code == 0, ran.err
        piped = steer_llama(*line.split(), "--json", "-")
    assert "── a, layer 1 (as asked)" in ran.out
    assert "── b, layer 2" in ran.out
    found = json.loads(Path("o.json").read_text())
    assert json.loads(piped.out) == found
    assert [each["layer"] for each in found["axes"]] == [1, 2]
    (text,) = found["texts"]
    assert "".join(text["text"][part["start"] : part["end"]] for part in text["parts"]) == text["text"]
    assert len(text["strength"][0]) == len(text["token_ids"]) == len(text["token_spans"])
    page = Path("o.html").read_text()
    assert "&lt;" in page
    assert "<b>&" not in page
    assert "wrote o.html" in ran.err


@pytest.mark.usefixtures("here")
def test_answers_and_texts() -> None:
    with one_thread():
        ran = steer_llama("monitor", "responses.jsonl", *VECTOR)
        assert ran.code == 0, ran.err
        assert "responses.jsonl, line 1 (" in ran.out
        ran = steer_llama("monitor", "--text", "a fox", "--raw", *VECTOR)
        assert ran.code == 0, ran.err
        assert "without a chat template" in ran.err
        assert "1 text" in ran.out


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("monitor -m tiny --vector vector.safetensors", "give a file"),
        ("monitor talk.json --raw -m tiny --vector vector.safetensors", "--raw is for a plain text"),
        ("monitor talk.json -m tiny --vector vector.safetensors --layer 9", "no layer 9"),
        ("monitor talk.json -m tiny --vector vector.safetensors --layer b@1", "no vector 'b'"),
        ("monitor talk.json -m tiny --vector vector.safetensors --layer 1 --json talk.json", "it is what is read"),
        ("monitor talk.json -m tiny --vector v=vector.safetensors --layer 1 --html vector.safetensors", "what is read"),
        ("monitor talk.json -m smollm2 --vector vector.safetensors --layer 1", "wide"),
    ],
)
def test_refusals(line: str, words: str) -> None:
    ran = steer_llama(*line.split())
    assert ran.code == 2
    assert words in ran.said
    assert ran.out == ""
    assert json.loads(Path("talk.json").read_text()) == TALK
