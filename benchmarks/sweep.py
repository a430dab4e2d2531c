"""What the sweep of 10 layers × 6 strengths × 12 questions × 64 tokens costs, and what comes of it, on three traits.

    runs      a run folder for each trait (sources, vector, verdict), as the demo makes it
    speed     the sweep by us, by a loop over a steering library with batches of 12, and the seed's way, on a part
    alike     whether a condition's answers are the same alone, in the grid and in shuffled order
    halving   the whole grid for each trait and seed, and what halving finds on it for how many of its tokens
    verdicts  steered answers beside those under random directions

Everything but `speed` and `alike` is kept in the folder, so a benchmark that was stopped goes on where it was.

    uv run python benchmarks/sweep.py
    uv run python benchmarks/sweep.py --only speed --conditions 2 --seed-answers 1 --tokens 8 --repeats 1
    uv run python benchmarks/sweep.py --only halving --traits emoji --seeds 1
"""

import argparse
import platform
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from sweeping import ANSWERS, LAYERS, STRENGTHS, TOKENS, alike, grid, halving, runs, speed, verdicts
from sweeping.material import Material
from turns.environments import THREADS

from steer_llama.packaged import packaged_traits

_CONSOLE = Console(width=150, highlight=False)
_PARTS = ("runs", "speed", "alike", "halving", "verdicts")
_MINUTES = {"run": 3.0, "speed": 8.0, "alike": 2.0, "grid": 4.0}
"""On two idle cores with AVX-512; a run and a grid are of one trait and seed."""


def main() -> None:
    options = _options()
    # The processes and the files of a run that is stopped go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folders = {trait: options.out / trait for trait in options.traits}
    _say(
        f"{len(LAYERS)} layers × {len(STRENGTHS)} strengths × {ANSWERS // len(LAYERS) // len(STRENGTHS)} questions × "
        f"{TOKENS} tokens; {platform.machine()}, {THREADS} threads, torch {torch.__version__}"
    )
    _say(_expected(options, folders))
    if "runs" in options.only or not all(map(runs.finished, folders.values())):
        for trait, folder in folders.items():
            _say(f"run: {trait}, {folder}")
            runs.run(trait, folder)
    materials = {trait: Material.of(trait, folder) for trait, folder in folders.items()}
    parts: dict[str, Callable[[], None]] = {
        "speed": lambda: _speed(options, next(iter(materials.values()))),
        "alike": lambda: _alike(options, next(iter(materials.values()))),
        "halving": lambda: _halving(options, materials),
        "verdicts": lambda: _verdicts(folders),
    }
    for name, part in parts.items():
        if name in options.only:
            _CONSOLE.rule(name)
            part()


def _speed(options: argparse.Namespace, material: Material) -> None:
    with tempfile.TemporaryDirectory(prefix="sweep-benchmark-") as scratch:
        measured = speed.measure(
            material,
            options.conditions,
            options.seed_answers,
            options.tokens,
            options.repeats,
            Path(scratch),
            lambda text: _say(text, "dim"),
        )
    _CONSOLE.print(speed.table(measured))
    for bar in speed.bars(measured):
        _say(bar)


def _alike(options: argparse.Namespace, material: Material) -> None:
    with tempfile.TemporaryDirectory(prefix="sweep-benchmark-") as scratch:
        _say(alike.check(material, options.conditions, 3, options.tokens, Path(scratch)))


def _halving(options: argparse.Namespace, materials: dict[str, Material]) -> None:
    settings = grid.whole_grid()
    found = []
    for trait, material in materials.items():
        for seed in options.seeds:
            name = f"{trait}, seed {seed}"
            done = grid.run_grid(material, seed, settings, options.tokens)
            if done.new:
                rate = f", {done.new_tokens:,} tokens in {done.seconds:.0f} s, {done.new_tokens / done.seconds:.0f} a "
                _say(f"{name}: {done.new} new answers{rate}second with all that is measured of them", "dim")
            wanted = verdicts.wanted(material.folder)
            replayed = halving.replay_on(done.trials, wanted, settings.min_coherence, "fidelity")
            found.append(halving.met(replayed))
            _say(halving.line(name, replayed))
            by_trait = halving.replay_on(done.trials, wanted, settings.min_coherence, "trait")
            _say(f"{name}, had the objective been the trait score: {by_trait.regret:.1%} short of the best", "dim")
    _say(f"bar: halving: met in {sum(found)} of {len(found)} grids")


def _verdicts(folders: dict[str, Path]) -> None:
    _CONSOLE.print(verdicts.table(folders))
    for trait, folder in folders.items():
        _say(verdicts.bar(trait, folder))


def _expected(options: argparse.Namespace, folders: dict[str, Path]) -> str:
    new_runs = sum(not runs.finished(folder) for folder in folders.values())
    grids = [
        (trait, seed)
        for trait, folder in folders.items()
        for seed in options.seeds
        if not grid.journal_path(folder, seed).exists()
    ]
    minutes = new_runs * _MINUTES["run"] + sum(_MINUTES[name] for name in ("speed", "alike") if name in options.only)
    if "halving" in options.only:
        minutes += len(grids) * _MINUTES["grid"]
    begun = len(folders) * len(options.seeds) - len(grids)
    return (
        f"expected: about {minutes:.0f} minutes on two idle cores ({new_runs} of {len(folders)} runs to make"
        + (f"; {len(grids)} grids to answer, {begun} begun or done before" if "halving" in options.only else "")
        + f"); kept in {options.out}"
    )


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", default=",".join(_PARTS), help=f"some of: {', '.join(_PARTS)} (all)")
    asked.add_argument("--traits", default="emoji,formatting,playful", help="packaged ones (emoji,formatting,playful)")
    asked.add_argument("--seeds", default="1,2,3", help="of the grids' sampling (1,2,3)")
    asked.add_argument("--out", type=Path, default=Path("out/benchmarks"), help="kept folder (out/benchmarks)")
    asked.add_argument("--conditions", type=int, default=16, help="of the grid, in speed and alike (16)")
    asked.add_argument("--seed-answers", type=int, default=3, help="that the seed's way writes in speed (3)")
    asked.add_argument("--repeats", type=int, default=3, help="rounds of speed; the table shows the median (3)")
    asked.add_argument("--tokens", type=int, default=TOKENS, help=f"of an answer; fewer for a try-out ({TOKENS})")
    options = asked.parse_args()
    for name, known in (("only", _PARTS), ("traits", packaged_traits())):
        chosen = list(filter(None, getattr(options, name).split(",")))
        if unknown := set(chosen) - set(known):
            asked.error(f"--{name}: unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        setattr(options, name, chosen)
    if not options.traits:
        asked.error("--traits: name at least one")
    try:
        options.seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError:
        asked.error(f"--seeds {options.seeds}: expected whole numbers, like 1,2,3")
    for name in ("conditions", "seed_answers", "repeats", "tokens"):
        if getattr(options, name) < 1:
            asked.error(f"--{name.replace('_', '-')} {getattr(options, name)}: expected at least 1")
    return options


def _say(text: str, style: str | None = None) -> None:
    _CONSOLE.print(escape(text), style=style, soft_wrap=True)


if __name__ == "__main__":
    main()
