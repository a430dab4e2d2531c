import os
import pty
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from steer_llama.cli.main import app
from steer_llama.config import load_config
from tests.cli.command import steer_llama
from tests.cli.conftest import Made

VERBS = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
VERBS = ["filter" if verb == "filter_pairs" else verb for verb in VERBS]
SCRIPT = Path(sys.executable).parent / "steer-llama"


def test_version() -> None:
    ran = steer_llama("--version")
    assert (ran.code, ran.out) == (0, f"steer-llama {version('steer-llama')}\n")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_of_every_verb(verb: str) -> None:
    long, short = (steer_llama(*verb.split(), flag) for flag in ("--help", "-h"))
    assert long.code == short.code == 0
    assert long.out == short.out
    assert "Usage:" in long.out
    assert f"Example: steer-llama {verb} " in long.out or not verb
    assert long.err == ""


def test_nothing_given_is_a_wrong_usage() -> None:
    ran = steer_llama()
    assert ran.code == 2
    assert "Usage:" in ran.out + ran.err


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"], ["demo", "--print-config"], ["nonsense"]])
def test_nothing_heavy_is_imported_to_talk(arguments: list[str]) -> None:
    code = (
        "import sys; from steer_llama.cli.main import main\n"
        f"sys.argv = ['steer-llama', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'h5py', 'plotly', 'openai', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_demo_as_a_configuration_of_ones_own(tmp_path: Path) -> None:
    ran = steer_llama("demo", "--print-config")
    assert ran.code == 0
    path = tmp_path / "my.yaml"
    path.write_text(ran.out, encoding="utf-8")
    config = load_config(path)
    assert config.trait == "emoji"
    assert config.model.path == "smollm2"
    assert config.source.demonstrate


def test_a_flaw_of_ours_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steer_llama.packaged.demo_config", lambda: 1 // 0)
    ran = steer_llama("demo", "-o", tmp_path / "o")
    assert ran.code == 1
    assert ran.said.startswith("error: unexpected ZeroDivisionError")
    assert "Traceback" not in ran.err
    monkeypatch.setenv("STEER_LLAMA_TRACEBACK", "1")
    assert "Traceback" in steer_llama("demo", "-o", tmp_path / "o").err


def test_without_a_terminal_a_short_run_is_quiet(made: Made, tmp_path: Path) -> None:
    ran = steer_llama("run", made.config, "-o", tmp_path / "o")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out + ran.err
    assert "\r" not in ran.out + ran.err
    assert not re.search(r"\d+/\d+ (answers|pairs|layers)", ran.err), "progress of what took no time"
    assert [line.split()[1] for line in ran.err.splitlines() if line.startswith("✓")] == [
        *("elicit", "respond", "judge", "filter", "extract", "fit", "sweep", "report"),
    ]


@pytest.mark.slow
def test_on_a_terminal_bars_come_and_go(made: Made, tmp_path: Path) -> None:
    command = [str(SCRIPT), "run", str(made.config), "-o", str(tmp_path / "o")]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="40")
        os.execv(command[0], command)
    shown = b""
    try:
        while block := os.read(terminal, 4096):
            shown += block
    except OSError:  # how Linux says that the other side is gone
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown.decode()
    text = shown.decode()
    assert "━" in text, "no bar was drawn"
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h"), "the cursor stays hidden"
    screen = _screen(text)
    assert not [line for line in screen if re.search(r"\d+/\d+ (answers|pairs|layers)", line)], "a bar stays behind"
    assert next(line.split()[1] for line in screen if line.startswith("✓")) == "elicit"
    assert "Loading weights" not in text


def _screen(text: str) -> list[str]:
    """What is left on the screen: just enough of a terminal for rich (line up, line start, erase)."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b"):
            count = int(re.sub(r"\D", "", part) or 1)
            if part.endswith("A"):
                row -= count
            elif part == "\x1b[2K":
                lines[row] = ""
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return lines
