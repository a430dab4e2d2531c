"""A run folder for every trait: sources, pairs, vector and verdict, made by the pipeline as the demo makes them."""

import subprocess
import sys
from pathlib import Path

from turns.environments import surroundings

from steer_llama.elicitations import read_elicitation, with_split
from steer_llama.files import write_json
from steer_llama.records import Split, as_json
from steer_llama.rundir import REPORT
from sweeping import QUESTIONS

_DIRECTIONS = 3
"""Random ones that the winner is compared with; the demo, which is to be quick, has one."""


def finished(folder: Path) -> bool:
    """Whether a run has come to its end there (what it would do again, it knows itself)."""
    return (folder / REPORT).exists()


def run(trait: str, folder: Path) -> None:
    """Make what is not there yet; the demo's own grid is small.

    Raises:
        SystemExit: the run failed; its error stands above.
    """
    elicitation = folder.with_name(f"{folder.name}.elicitation.json")
    write_elicitation(trait, elicitation)
    command = [sys.executable, "-m", "steer_llama", "demo", "--trait", trait, "--out", str(folder)]
    for changed in (f"elicitation={elicitation}", f"sweep.random_directions={_DIRECTIONS}"):
        command += ["--set", changed]
    done = subprocess.run(command, env=surroundings(None), check=False)
    if done.returncode != 0:
        raise SystemExit(f"{trait}: the run in {folder} failed with {done.returncode}; its error stands above.")


def write_elicitation(trait: str, path: Path) -> None:
    """The packaged elicitation with as many dev questions as the sweep has; the last of *extract* become *dev*.

    Raises:
        SystemExit: it has too few questions.
    """
    elicitation = with_split(read_elicitation(trait))
    split = elicitation.split
    assert split is not None, "with_split gives a split"
    kept = len(split.extract) - (QUESTIONS - len(split.dev))
    if kept < 1:
        raise SystemExit(f"{trait}: {len(split.extract)} + {len(split.dev)} questions are too few for the sweep.")
    changed = Split(extract=split.extract[:kept], dev=(*split.dev, *split.extract[kept:])[:QUESTIONS], test=split.test)
    write_json(path, as_json(elicitation.model_copy(update={"split": changed})))
