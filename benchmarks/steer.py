"""How fast a steered model writes, beside everybody else, on the same prompts in one run.

Every way is given the same tokens and the same vectors, greedily, in float32, and has a process of its own with two
threads; the ways take turns and stay loaded meanwhile (about 1 GB each). The clock runs from the prompts' tokens to
the answers' texts. What is compared is tokens written a second, since answers may differ.

``fixed`` (the default): all answers have the full number of tokens, because everybody loads the model with a stop
token that it never writes. ``answers``: its own stop token, so rows end at different times, in several batches.

    uv run python benchmarks/steer.py
    uv run python benchmarks/steer.py --workload answers --rows 96 --tokens 128
    uv run python benchmarks/steer.py --repeats 1 --only ours,transformers --rows 8 --tokens 8
"""

import argparse
import platform
import signal
import sys
import tempfile
from pathlib import Path

import torch
from generation import HOOK, OURS, WAYS
from generation.bars import By, bars, same_answers
from generation.gathering import LAYER, STRENGTH, gather
from generation.rounds import Measured, take_turns
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from turns import Way
from turns.environments import THREADS

_CONSOLE = Console(width=150, highlight=False)
_WRONG = ("hooked-transformer", "bridge")


def main() -> None:
    options = _options()
    # The processes and the files of a run that is stopped go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="steer-benchmark-") as folder:
        work = gather(options.rows, options.batch, options.tokens, options.workload, Path(folder))
        work_file = Path(folder) / "work.json"
        work.write(work_file)
        lengths = [len(row.ids) for row in work.sets["plain"]]
        _CONSOLE.print(
            f"{options.rows} prompts of {min(lengths)} to {max(lengths)} tokens, {options.tokens} tokens each"
            f"{' at most' if options.workload == 'answers' else ''}, batches of {options.batch}; "
            f"steered: layer {LAYER}, strength {STRENGTH}; mixed: another layer, strength and vector in every row"
        )
        _CONSOLE.print(f"{platform.machine()}, {THREADS} threads, torch {torch.__version__}")
        asked = [(way, _sets(way)) for way in WAYS if not options.only or way.name in options.only]
        measured = take_turns(asked, work_file, options.repeats, lambda text: _CONSOLE.print(escape(text), style="dim"))
    _CONSOLE.print(_table(measured))
    for line in (*_notes(measured, options.tokens, options.workload == "fixed"), *bars(measured)):
        _CONSOLE.print(escape(line), soft_wrap=True)
    for way, _ in asked:
        if missing := measured[way.name, "steered"].missing:
            _CONSOLE.print(escape(f"skipped: {way.name}: {missing}"))
    if failed := [way.name for way, _ in asked if measured[way.name, "steered"].failure]:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--workload", choices=("fixed", "answers"), default="fixed", help="when answers end (fixed)")
    asked.add_argument("--rows", type=int, default=32, help="prompts (32)")
    asked.add_argument("--tokens", type=int, default=64, help="of an answer (64)")
    asked.add_argument("--batch", type=int, default=32, help="rows at once, for everybody (32)")
    asked.add_argument("--repeats", type=int, default=3, help="rounds; the table shows the median (3)")
    asked.add_argument("--only", default="", help=f"some of: {', '.join(way.name for way in WAYS)}")
    options = asked.parse_args()
    options.only = set(filter(None, options.only.split(",")))
    if unknown := options.only - {way.name for way in WAYS}:
        asked.error(f"--only: unknown: {', '.join(sorted(unknown))}; there are {', '.join(way.name for way in WAYS)}")
    for name in ("rows", "tokens", "batch", "repeats"):
        if getattr(options, name) < 1:
            asked.error(f"--{name} {getattr(options, name)}: expected at least 1")
    return options


def _sets(way: Way) -> tuple[str, ...]:
    # The libraries steer a whole batch alike; plain, they are transformers or slower than it.
    return ("plain", "steered", "mixed") if way in (HOOK, OURS) else ("steered",)


def _table(measured: By) -> Table:
    table = Table("way", "rows", "tokens a second", "each round", "ours steered is", "same as transformers")
    ours = measured.get(("ours", "steered"))
    for (name, rows), each in measured.items():
        if not each.ran:
            table.add_row(each.way.label, rows, "skipped" if each.missing else "failed")
            continue
        table.add_row(
            each.way.label if rows != "plain" or name != "transformers" else "transformers, plain",
            rows,
            f"{each.speed:.1f}",
            " ".join(f"{speed:.1f}" for speed in each.speeds),
            "" if ours is None or not ours.ran else f"× {ours.speed / each.speed:.2f}",
            _same(each, measured.get(("transformers", rows))),
        )
    return table


def _same(each: Measured, reference: Measured | None) -> str:
    if reference is None or not reference.ran or each is reference:
        return "–"
    return f"{same_answers(each, reference)} of {len(each.answers)}"


def _notes(measured: By, tokens: int, full: bool) -> list[str]:
    notes = []
    plain, steered = measured.get(("transformers", "plain")), measured.get(("transformers", "steered"))
    if plain and steered and plain.ran and steered.ran:
        other = len(plain.answers) - same_answers(plain, steered)
        notes.append(f"steering changes {other} of {len(plain.answers)} answers of transformers")
    if any(each.ran and each.way.name in _WRONG for each in measured.values()):
        notes.append(
            "HookedTransformer 2.18 attends to the padding of rows that are padded on the left: its answers are wrong "
            "there, whatever its speed. The bridge is given the attention mask."
        )
    for each in measured.values():
        short = sum(answer.tokens < tokens for answer in each.answers)
        if full and short:
            notes.append(f"{each.way.name}, {each.rows}: {short} answers are shorter than {tokens} tokens")
    return notes


if __name__ == "__main__":
    main()
