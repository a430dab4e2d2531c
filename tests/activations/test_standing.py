"""A file of other settings is neither mixed in nor lost."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from steer_llama.activations import Existing
from steer_llama.activations.layout import Layout
from steer_llama.activations.writer import ActivationWriter
from steer_llama.errors import ConflictError
from tests.activations.test_writer import partial, write
from tests.activations.tiny import made_up_layout

BASE = made_up_layout(tokens=True)
OTHERS = {
    "model other, now m": replace(BASE, model="other", model_fingerprint="0" * 64),
    "other weights": replace(BASE, model_fingerprint="0" * 64),
    "dtype float16, now float32": replace(BASE, dtype="float16"),
    "layers 0,2, now 0-2": replace(BASE, layers=(0, 2)),
    "width 9, now 8": replace(BASE, width=9),
    "positions response,markdown, now response,emoji": replace(BASE, positions=("response", "markdown")),
    "single tokens not kept, now kept": replace(BASE, tokens=False),
    "number of pairs 5, now 7": replace(BASE, pairs=BASE.pairs[:5]),
    "other texts": replace(BASE, texts_fingerprint="u"),
    "layout per_sample, now pooled": replace(BASE, per_sample=True),
    "the pairs have other names or marks": replace(
        BASE, pairs=tuple(replace(p, name=p.name + "!") for p in BASE.pairs)
    ),
}
ALL = pytest.mark.parametrize(("says", "other"), OTHERS.items())


@ALL
def test_a_finished_file_of_other_settings(tmp_path: Path, says: str, other: Layout) -> None:
    path = tmp_path / "a.h5"
    write(path, other)
    before = path.read_bytes()
    with pytest.raises(ConflictError) as refused:
        write(path, BASE)
    assert f"made with other settings: {says}. Name another file with -o, or replace it with --over" in str(
        refused.value
    )
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@ALL
def test_an_unfinished_file_of_other_settings(tmp_path: Path, says: str, other: Layout) -> None:
    path = tmp_path / "a.h5"
    write(path, other, stop_at=3)
    before = partial(path).read_bytes()
    with pytest.raises(ConflictError) as refused:
        write(path, BASE)
    assert f"with other settings: {says}. Finish it with the settings that it was" in str(refused.value)
    assert partial(path).read_bytes() == before
    assert list(tmp_path.iterdir()) == [partial(path)]


@pytest.mark.parametrize("existing", ["replace", "overwrite"])
@pytest.mark.parametrize("stop_at", [None, 3])
def test_it_is_replaced_on_request(tmp_path: Path, existing: Existing, stop_at: int | None) -> None:
    path, fresh = tmp_path / "a.h5", tmp_path / "b.h5"
    write(fresh, BASE)
    write(path, OTHERS["other texts"], stop_at=stop_at)
    note = write(path, BASE, existing=existing)
    assert note == (
        "" if stop_at is None else "the unfinished file of an earlier run was of other pairs or settings; starting anew"
    )
    assert path.read_bytes() == fresh.read_bytes()
    assert not partial(path).exists()


@pytest.mark.parametrize(("existing", "again"), [("refuse", False), ("replace", False), ("overwrite", True)])
def test_a_finished_file_of_the_same_settings(tmp_path: Path, existing: Existing, again: bool) -> None:
    path = tmp_path / "a.h5"
    write(path, BASE)
    stat = path.stat()
    target = ActivationWriter(path, BASE, 2, existing)
    assert (target.finished, target.done) == (not again, 0 if again else 7)
    target.close()
    write(path, BASE, existing=existing)
    assert (path.stat().st_ino == stat.st_ino) is not again
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(5000)])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(
        ConflictError, match=r"exists and is no finished file of activations\. Name another file with -o"
    ):
        write(path, BASE)
    assert path.read_bytes() == content
    write(path, BASE, existing="overwrite")
    assert path.read_bytes() != content


@pytest.mark.parametrize("name", ["a.h5", "a.h5.partial"])
def test_somebody_elses_hdf5(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / name, "w") as file:
        file["x"] = np.arange(3)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(ConflictError, match=r"no finished file of activations|unfinished file of something else"):
        write(tmp_path / "a.h5", BASE)
    assert (tmp_path / name).read_bytes() == before


def test_a_file_of_an_earlier_version(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, BASE)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1
        for name in ("layout", "layers", "positions", "tokens", "pairs", "texts_fingerprint", "width"):
            del file.attrs[name]
        file.attrs["fingerprint"] = "1" * 64
    with pytest.raises(ConflictError, match=r"the format's version 1, now 3; layout not said, now pooled"):
        write(path, BASE)


def test_an_unfinished_file_under_the_finished_name(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, BASE, stop_at=3)
    partial(path).rename(path)
    with pytest.raises(ConflictError, match="is no finished file of activations"):
        write(path, BASE)
