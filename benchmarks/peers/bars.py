"""What the measurement is judged by."""

from collections.abc import Iterator

import numpy as np

from peers.rounds import Measured
from peers.work import Floats

_SPEED = {"ours": (2.0, 2.9), "ours-bfloat16": (3.4, 5.0)}
"""Times the best peer's speed and the seed's, which compute in float32."""
_LIMIT, _SMALLER, _ABOVE_MB, _ERROR = 0.8, 100, 1000, 1e-4


def errors(found_LD: Floats, reference_LD: Floats) -> Floats:
    """Relative error of each layer (L,)."""
    found: Floats = np.linalg.norm(found_LD - reference_LD, axis=1) / np.linalg.norm(reference_LD, axis=1)
    return found


def bars(measured: dict[str, Measured], reference_LD: Floats) -> Iterator[str]:
    """One line a bar; a bar whose ways did not run is named and not judged."""
    ran = {name: each for name, each in measured.items() if each.ran}
    ours, seed, limit = ran.get("ours"), ran.get("seed"), ran.get("limit")
    if ours is None:
        yield "bars: not judged, ours did not run"
        return
    peers = [each for each in ran.values() if each.way.kind == "peer"]
    best = min(peers, key=lambda each: each.seconds, default=None)
    for name, wanted in _SPEED.items():
        if name not in ran:
            yield _missing(f"speed of {name}", name)
            continue
        for other, label, ratio in ((best, "best peer", wanted[0]), (seed, "seed", wanted[1])):
            if other is None:
                yield _missing(f"{label} / {name}", f"the {label}")
                continue
            found = other.seconds / ran[name].seconds
            yield _line(f"{label} ({other.way.name}) / {name} {found:.2f}, wanted >= {ratio}", found >= ratio)
    if seed:
        size, small = seed.runs[-1]["file_bytes"], ours.runs[-1]["file_bytes"]
        alone = ours.runs[-1]["response_bytes"]
        times = f"file {size / 1e6:.1f} MB / {small / 1e6:.1f} MB = {size / small:.0f} times smaller"
        note = f"with the means over the response alone {size / alone:.0f} times"
        yield _line(f"{times}, wanted >= {_SMALLER} ({note})", size / small >= _SMALLER)
    else:
        yield _missing("file size", "the seed")
    for name, bound in (("ours", limit), ("ours-bfloat16", ran.get("limit-bfloat16"))):
        if bound is None or name not in ran:
            yield _missing(f"limit / {name}", "the limit or the engine")
            continue
        ratio = bound.seconds / ran[name].seconds
        yield _line(f"limit (F.linear) / {name} {ratio:.2f}, wanted >= {_LIMIT}", ratio >= _LIMIT)
    if ours.above_mb is None:
        yield "bar: memory: not judged, the system does not tell it"
    else:
        said = f"memory above the loaded model {ours.above_mb:.0f} MB, wanted < {_ABOVE_MB}"
        yield _line(said, ours.above_mb < _ABOVE_MB)
    assert ours.vector_LD is not None, "ours always gives a vector"
    error = float(errors(ours.vector_LD, reference_LD).max())
    yield _line(f"largest relative error of any layer {error:.1e}, wanted <= {_ERROR:g}", error <= _ERROR)


def _line(text: str, met: bool) -> str:
    return f"bar: {text}: {'met' if met else 'NOT met'}"


def _missing(text: str, who: str) -> str:
    return f"bar: {text}: not judged, {who} did not run"
