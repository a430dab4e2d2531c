"""A thousand damaged files for each reader of torch's files: always an error of ours, or still a vector."""

import random
from pathlib import Path

import pytest
import torch

from steer_llama.errors import InputError
from steer_llama.vectors import FORMATS, open_vector, save_vector
from steer_llama.vectors.formats.torch_files import reading
from tests.vectors.formats.layers import complete

NAMES = ("assistant-axis", "persona-vectors", "seed", "steering-vectors")


def damaged(whole: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, or a piece cut out or doubled."""
    content = bytearray(whole)
    for _ in range(draw.choice([1, 1, 2, 3, 20])):
        content[draw.randrange(len(content))] = draw.choice([0, 1, 0x80, 0xFF, draw.randrange(256)])
    if draw.random() < 0.2:
        a, b = sorted(draw.randrange(len(content)) for _ in range(2))
        content[a:b] = b"" if draw.random() < 0.5 else content[a:b] * 2
    return bytes(content)


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_any_damage(tmp_path: Path, name: str, checksums: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    save_vector(tmp_path / "v.pt", complete(), name)
    whole, path, draw, refused = (tmp_path / "v.pt").read_bytes(), tmp_path / "x.pt", random.Random(0), 0
    if not checksums:  # or they would hide what damage does to the pickle
        monkeypatch.setattr(reading, "_intact", lambda *_: True)
    for _ in range(1000 if checksums else 500):
        path.write_bytes(damaged(whole, draw))
        assert FORMATS[name].recognises(path) in (True, False)
        try:
            open_vector(path, name)
        except InputError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 100


def test_any_damage_to_torchs_own_file(tmp_path: Path) -> None:
    torch.save({f"blocks.{n}.hook_resid_post": torch.ones(2) for n in range(3)}, tmp_path / "v.pt")
    whole, path, draw = (tmp_path / "v.pt").read_bytes(), tmp_path / "x.pt", random.Random(1)
    for _ in range(500):
        path.write_bytes(damaged(whole, draw))
        try:
            open_vector(path)
        except InputError as error:
            assert str(path) in str(error)
