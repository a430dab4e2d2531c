"""Write docs/cli.md from the program's --help: ``uv run python docs/make_cli.py``; a test checks that it is true."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")
VERBS = (
    "",
    "demo",
    "run",
    "respond",
    "judge",
    "filter",
    "merge",
    "extract",
    "fit",
    "sweep",
    "tune",
    "report",
    "plan",
    "inspect",
    "combine",
    "generate",
    "monitor",
    "export",
    "convert",
    "push",
    "pull",
)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as it should be."""
    verbs = [f"## `{f'steer-llama {verb}'.strip()}`\n\n```\n{help_of(verb)}\n```\n" for verb in VERBS]
    return "\n".join(["# Command line\n\nMade by `uv run python docs/make_cli.py`.\n", *verbs])


def help_of(verb: str) -> str:
    """What ``steer-llama VERB --help`` prints on a plain terminal of 110 columns."""
    plain = {"COLUMNS": "110", "TERMINAL_WIDTH": "110", "TERM": "dumb", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    clean = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "CI", "GITHUB_ACTIONS")}
    command = [sys.executable, "-m", "steer_llama", *([verb] if verb else []), "--help"]
    shown = subprocess.run(command, env=clean | plain, capture_output=True, text=True, encoding="utf-8", check=True)
    return re.sub(r"[ \t]+$", "", shown.stdout, flags=re.MULTILINE).strip("\n")


if __name__ == "__main__":
    main()
