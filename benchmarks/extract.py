"""How long it takes to read the mean difference out of a model, beside everybody else, on the same pairs in one run.

Every way gets the same tokens and the same response positions, has a process of its own with two threads, and is on
the clock for the work alone (loading and a first pair before it are not counted). The ways take turns. They stay
loaded meanwhile, which needs about 1 GB each. The reference is float64 transformers with hooks. Competitors are
installed into the user's cache at the first run.

    uv run python benchmarks/extract.py
    uv run python benchmarks/extract.py --repeats 1 --only ours,transformers,limit --pairs filtered.json
"""

import argparse
import platform
import signal
import sys
import tempfile
from pathlib import Path

import torch
from peers import PEERS
from peers.bars import bars, errors
from peers.gathering import find_pairs, gather
from peers.rounds import Measured, take_turns
from peers.work import Floats, Work
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from turns import Way
from turns.environments import THREADS

_CONSOLE = Console(width=150, highlight=False)
_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}


def main() -> None:
    options = _options()
    # The processes and the files of a run that is stopped go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    pairs, origin = find_pairs(options.pairs)
    with tempfile.TemporaryDirectory(prefix="extract-benchmark-") as folder:
        work = gather(pairs, Path(folder))
        _CONSOLE.print(escape(f"{origin}: {work.n_tokens:,} tokens, {work.n_needed:,} without common beginnings"))
        _CONSOLE.print(
            f"{platform.machine()}, {THREADS} threads, torch {torch.__version__}, "
            f"native bfloat16: {'yes' if _native_bfloat16() else 'no'}"
        )
        work_file = Path(folder) / "work.json"
        work.write(work_file)
        reference_LD, rows = take_turns(
            _chosen(options), work, work_file, options.repeats, lambda text: _CONSOLE.print(escape(text), style="dim")
        )
    _CONSOLE.print(_table(rows, work, reference_LD))
    measured = {row.way.name: row for row in rows}
    for line in (*_notes(measured), *bars(measured, reference_LD)):
        _CONSOLE.print(escape(line))
    for row in rows:
        if row.missing:
            _CONSOLE.print(escape(f"skipped: {row.way.name}: {row.missing}"))
    if failed := [row.way.name for row in rows if row.failure]:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--pairs", type=Path, nargs="+", default=[], help="files of pairs, as `extract` takes them")
    asked.add_argument("--repeats", type=int, default=3, help="rounds; the table shows the median (3)")
    asked.add_argument("--only", default="", help=f"some of: {', '.join(peer.name for peer in PEERS)}")
    asked.add_argument("--repeng", action="store_true", help="run repeng too, which is slow and needs some 6 GB")
    asked.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        default=_native_bfloat16(),
        help="run ours in bfloat16 too (default: where the CPU has instructions for it; else it is slow)",
    )
    options = asked.parse_args()
    unknown = set(filter(None, options.only.split(","))) - {peer.name for peer in PEERS}
    if unknown:
        asked.error(f"--only: unknown: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in PEERS)}")
    if options.repeats < 1:
        asked.error(f"--repeats {options.repeats}: expected at least 1")
    return options


def _chosen(options: argparse.Namespace) -> list[Way]:
    names = set(filter(None, options.only.split(",")))
    return [
        peer for peer in PEERS if peer.name in names or (not names and (not peer.asked or options.__dict__[peer.asked]))
    ]


def _table(rows: list[Measured], work: Work, reference_LD: Floats) -> Table:
    table = Table("way", "seconds", "each round", "× ours", f"error, layers 0–{work.n_layers - 2}", "last layer")
    table.add_column("RSS +MB")
    table.add_column("file, MB")
    ours = next((row.seconds for row in rows if row.way.name == "ours" and row.ran), None)
    for row in rows:
        if not row.ran:
            table.add_row(row.way.label, "skipped" if row.missing else "failed")
            continue
        by_layer = None if row.vector_LD is None else errors(row.vector_LD, reference_LD)
        size = row.runs[-1]["file_bytes"]
        table.add_row(
            row.way.label,
            f"{row.seconds:.2f}",
            " ".join(f"{seconds:.2f}" for seconds in row.all_seconds),
            "" if ours is None else f"{row.seconds / ours:.2f}",
            "–" if by_layer is None else f"{by_layer[:-1].max():.1e}",
            "–" if by_layer is None else f"{by_layer[-1]:.1e}",
            "–" if row.above_mb is None or row.way.kind == "limit" else f"{row.above_mb:.0f}",
            "–" if size is None else f"{size / 1e6:.1f}",
        )
    return table


def _notes(measured: dict[str, Measured]) -> list[str]:
    notes = ["hidden_states ends with the final norm's output: who reads it is wrong in the last layer."]
    for row in measured.values():
        if row.ran and row.way.kind == "limit":
            run = row.runs[-1]
            notes.append(
                f"{row.way.name}: {run['passes']} passes with {run['rows']:,} rows in all where {run['needed']:,} are "
                f"needed, {run['gflops']:.0f} GFLOP/s; the time is that of the needed ones"
            )
    return notes


def _native_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 by itself."""
    books = Path("/proc/cpuinfo")
    if books.exists():
        return bool(_CPU_FLAGS & set(books.read_text(encoding="utf-8").split()))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


if __name__ == "__main__":
    main()
