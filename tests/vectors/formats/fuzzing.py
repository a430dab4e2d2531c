"""Damages a format's files and reads them, in a process of its own with little memory.

``python -m tests.vectors.formats.fuzzing FORMAT FILES SEED FOLDER`` prints what came of it as JSON; it ends otherwise
(an error that is none of ours, a crash, a signal) where a reader fails, and ``FOLDER`` then holds the file.
"""

import collections
import json
import random
import re
import resource
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

from steer_llama.errors import SteerLlamaError
from steer_llama.vectors import FORMATS, SteeringVector, VectorFormat
from tests.vectors.test_vector import vector

HANGS_AFTER = 10
"""Seconds for one file, after which the process is ended; the readers take milliseconds."""
MEMORY = 400 * 2**20
"""Bytes that the readers may take beyond what is loaded; what declares more must be refused before."""

_SIZES = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 2**24, 2**31 - 1, 2**32 - 1, 2**33, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
_WORDS = (
    b"0", b"-1", b"1e400", b"NaN", b"null", b"true", b'""', b"[]", b"{}", b"9" * 40, b"4294967296", b"1.5", b"[[[[[[",
)  # fmt: skip


def damaged(content: bytes, draw: random.Random) -> bytes:
    """One of a kind of damage, or several; half of it at the beginning and at the end, where formats have headers."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if changed:
            draw.choice(_DAMAGES)(changed, draw)
    return bytes(changed)


def _place(changed: bytearray, draw: random.Random) -> int:
    size, header = len(changed), min(len(changed), 800)
    return draw.choice((draw.randrange(size), draw.randrange(header), size - 1 - draw.randrange(min(header, 300))))


def _flip(changed: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 8, 64))):
        changed[_place(changed, draw)] ^= 1 << draw.randrange(8)


def _truncate(changed: bytearray, draw: random.Random) -> None:
    del changed[_place(changed, draw) :]


def _splice(changed: bytearray, draw: random.Random) -> None:
    begin, to = _place(changed, draw), _place(changed, draw)
    block = changed[begin : begin + draw.choice((1, 8, 64, 500))]
    changed[to : to + draw.choice((0, len(block)))] = block


def _delete(changed: bytearray, draw: random.Random) -> None:
    begin = _place(changed, draw)
    del changed[begin : begin + draw.choice((1, 4, 8, 100))]


def _length(changed: bytearray, draw: random.Random) -> None:
    """A length field, or what would be one."""
    width = draw.choice((1, 2, 4, 8))
    value = draw.choice(_SIZES) % (1 << 8 * width)
    begin = draw.choice((_place(changed, draw), draw.choice((0, 4, 8, 16, 24))))
    changed[begin : begin + width] = value.to_bytes(width, draw.choice(("little", "little", "big")))


def _fill(changed: bytearray, draw: random.Random) -> None:
    begin, size = _place(changed, draw), draw.choice((4, 32, 200))
    changed[begin : begin + size] = bytes([draw.choice((0, 0, 0xFF))]) * len(changed[begin : begin + size])


def _double(changed: bytearray, draw: random.Random) -> None:
    """A part of the header, twice."""
    end = draw.randrange(1, min(len(changed), 800) + 1)
    changed[end:end] = changed[draw.randrange(end) : end]


def _word(changed: bytearray, draw: random.Random) -> None:
    """Another value in a text: for a number, a string, or a bracket."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?|\"[^\"]{0,40}\"|[\[\]{}:,]", bytes(changed[:4000])))
    if found:
        place = draw.choice(found)
        changed[place.start() : place.end()] = draw.choice(_WORDS)


_DAMAGES = (_flip, _truncate, _splice, _delete, _length, _fill, _double, _word)


def fuzz(form: VectorFormat, files: int, seed: int, folder: Path) -> dict[str, int]:
    """Read damaged files; counts what came of them.

    Half of the times the file is alone, where the format has another beside it (whose digest would catch everything).
    """
    whole = folder / "whole" / f"v{form.suffix}"
    given = vector(layers=(1, 2, 3), model_type="llama", evidence={"pairs": 3}, recommended_layer=2)
    whole.parent.mkdir(parents=True)
    form.write(whole, given)
    _check(form, whole)  # imports what it needs before the memory is limited
    parts = {path.name: path.read_bytes() for path in whole.parent.iterdir()}
    draw, counted = random.Random(seed), collections.Counter[str]()
    _limit_memory()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in range(files):
        broken = draw.choice(sorted(parts))
        alone = broken == whole.name and len(parts) > 1 and draw.random() < 0.5
        place = folder / f"{number}"
        place.mkdir()
        for name, content in parts.items():
            if name == broken or not alone:
                (place / name).write_bytes(damaged(content, draw) if name == broken else content)
        signal.alarm(HANGS_AFTER)
        counted[_check(form, place / whole.name)] += 1
        signal.alarm(0)
        shutil.rmtree(place)
    return dict(counted)


def _check(form: VectorFormat, path: Path) -> str:
    assert form.recognises(path) in (True, False)
    try:
        found = form.read(path)
    except SteerLlamaError as error:
        assert str(path.parent) in str(error), f"the error does not name the file: {error}"
        return type(error).__name__
    assert isinstance(found.vector, SteeringVector)
    assert found.vector.directions_LD.dtype == np.float32
    assert all(type(layer) is int for layer in found.vector.layers)
    return "read"


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    name, files, seed, folder = sys.argv[1:]
    sys.stdout.write(json.dumps(fuzz(FORMATS[name], int(files), int(seed), Path(folder))))
