"""How long the sweep takes: by us, by a loop over a steering library, and the seed's way.

All write the same tokens' worth on a part of the grid (greedy, float32, every answer of full length); what the whole
grid takes is extrapolated from it. The seed's way is so slow that its part is only a few answers.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from generation import LOOP, OURS, SEED, SEED_PLAIN, SWEEP_WAYS
from generation.gathering import load_embedded, without_stops
from generation.rounds import Measured, take_turns
from generation.work import Work
from rich.table import Table
from turns.loading import Say

from steer_llama.config import SweepSettings
from steer_llama.lm.embedded import embedded_folder
from steer_llama.progress import SilentReporter
from sweeping import ANSWERS, TOKENS
from sweeping.material import Material, spread

_WANTED = {SEED.name: 20.0, LOOP.name: 3.0}
_PART, _FEW = "part", "few"

By = Mapping[tuple[str, str], Measured]


def measure(
    material: Material, n_conditions: int, n_seed: int, tokens: int, repeats: int, scratch: Path, say: Say
) -> By:
    """``n_conditions`` of the grid by us and by the loop, ``n_seed`` answers of them the seed's way."""
    conditions = spread(n_conditions)
    np.save(scratch / "vectors.npy", material.vectors_CD(conditions))
    part = material.asked(load_embedded(), conditions)
    places = np.linspace(0, len(part) - 1, min(n_seed, len(part))).round().astype(int)
    work = Work(
        folder=without_stops(embedded_folder(SilentReporter()), scratch / "model"),
        vectors=scratch / "vectors.npy",
        batch_size=SweepSettings().batch_size,
        max_tokens=tokens,
        sets={_PART: tuple(part), _FEW: tuple(part[place] for place in places)},
    )
    work.write(scratch / "work.json")
    asked = [(way, (_FEW,) if way == SEED else (_PART,)) for way in SWEEP_WAYS]
    measured = take_turns(asked, scratch / "work.json", repeats, say)
    if measured[SEED.name, _FEW].missing:
        measured |= take_turns([(SEED_PLAIN, (_FEW,))], scratch / "work.json", repeats, say)
    _tell_differing(measured, [int(place) for place in places], say)
    return measured


def table(measured: By) -> Table:
    """The table, with what the whole sweep would take."""
    table = Table("way", "answers written", "tokens a second", "each round", f"the sweep of {ANSWERS} answers, minutes")
    for each in measured.values():
        if not each.ran:
            table.add_row(each.way.label, "skipped" if each.missing else "failed")
            continue
        table.add_row(
            each.way.label,
            f"{len(each.answers)}",
            f"{each.speed:.1f}",
            " ".join(f"{speed:.1f}" for speed in each.speeds),
            f"{ANSWERS * TOKENS / each.speed / 60:.1f} (extrapolated)",
        )
    return table


def bars(measured: By) -> Iterator[str]:
    """One line a bar."""
    by_way = {name: each for (name, _), each in measured.items() if each.ran}
    ours = by_way.get(OURS.name)
    if SEED_PLAIN.name in by_way:
        by_way[SEED.name] = by_way[SEED_PLAIN.name]
    for name, wanted in _WANTED.items():
        other = by_way.get(name)
        if ours is None or other is None:
            yield f"bar: the sweep, {name} / ours: not judged, {name if ours else 'ours'} did not run"
            continue
        ratio = ours.speed / other.speed
        met = "met" if ratio >= wanted else "NOT met"
        yield f"bar: the sweep, {name} / ours {ratio:.1f}, wanted >= {wanted:g} (both extrapolated): {met}"


def _tell_differing(measured: By, places: list[int], say: Say) -> None:
    ours = measured[OURS.name, _PART]
    for (name, _), each in measured.items():
        if each is ours or not (ours.ran and each.ran):
            continue
        theirs = range(len(ours.answers)) if name == LOOP.name else places
        same = sum(ours.answers[place] == answer for place, answer in zip(theirs, each.answers, strict=True))
        say(f"{name}: {same} of {len(each.answers)} answers are ours")
