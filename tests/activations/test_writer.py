"""What is on disk survives kills, full disks, damage and a second writer."""

import errno
import os
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from steer_llama.activations import Existing, PositionChoice, open_activations, writer
from steer_llama.activations.layout import Layout
from steer_llama.activations.writer import ActivationWriter
from steer_llama.errors import ConflictError, FileError, StorageError
from tests.activations.killing import forked
from tests.activations.tiny import made_up_layout, made_up_pair

RESPONSE = PositionChoice("response", "response")


def write(
    path: Path,
    layout: Layout,
    save_every: int = 2,
    stop_at: int | None = None,
    kind: type[ActivationWriter] = ActivationWriter,
    existing: Existing = "refuse",
) -> str:
    """Write all pairs, or let go before pair ``stop_at``; returns the note."""
    target = kind(path, layout, save_every, existing)
    try:
        for number in range(target.done, len(layout.pairs)):
            if number == stop_at:
                return target.resumed_note
            target.append(number, made_up_pair(layout, number))
        target.finish()
    finally:
        target.close()
    return target.resumed_note


def partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    path = tmp_path / "whole" / "a.h5"
    write(path, made_up_layout(tokens=True))
    return path.read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    layout = made_up_layout(tokens=True)
    write(tmp_path / "a.h5", layout, save_every=3)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for n in range(7):
            for a, arm in enumerate(("chosen", "rejected")):
                pooled = made_up_pair(layout, n)[a]
                for p, positions in enumerate(layout.positions):
                    np.testing.assert_array_equal(file[f"means/{positions}/{arm}"][n], pooled.mean_PLD[p])
                np.testing.assert_array_equal(file[f"residual_norm/{arm}"][n], pooled.norm_L)
                begin, end = file[f"tokens/{arm}/offsets"][n : n + 2]
                assert pooled.tokens_LTD is not None
                np.testing.assert_array_equal(
                    file[f"tokens/{arm}/values"][begin:end], pooled.tokens_LTD.transpose(0, 1)
                )
    with open_activations(tmp_path / "a.h5", PositionChoice("emoji", "emoji")) as data:
        assert (data.fallbacks("chosen"), data.fallbacks("rejected")) == (4, 7)
        for n in range(7):
            pooled = made_up_pair(layout, n)[0]
            np.testing.assert_array_equal(data.means("chosen", 1)[n], pooled.mean_PLD[n % 2, 1])


class Deadly:
    """A file in whose n-th write the process dies, half way through."""

    def __init__(self, file: Any, n: int) -> None:
        self.file, self.left = file, n

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: memoryview) -> int:
        self.left -= 1
        if self.left == 0:
            self.file.write(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return int(self.file.write(data))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 23, 24, 25, 26, 50, 51, 75, 87, 88])
def test_killed_in_the_middle_of_any_write_and_run_again(tmp_path: Path, whole: bytes, n: int) -> None:
    path, kills = tmp_path / "a.h5", 0

    class Mortal(ActivationWriter):
        def __init__(self, path: Path, layout: Layout, save_every: int, existing: Existing) -> None:
            super().__init__(path, layout, save_every, existing)
            self._file: Any = Deadly(self._file, n + 10 * kills)

    # Every attempt goes on where the one before was killed, and gets a little further.
    while forked(lambda: write(path, made_up_layout(tokens=True), kind=Mortal)) == signal.SIGKILL:
        kills += 1
        assert not path.exists()
    assert kills >= 1
    assert path.read_bytes() == whole
    assert not partial(path).exists()


def test_a_stop_is_gone_on_from(tmp_path: Path, whole: bytes) -> None:
    path, layout = tmp_path / "a.h5", made_up_layout(tokens=True)
    write(path, layout, stop_at=5)
    assert not path.exists()
    # Another rhythm of saving is no other extraction.
    assert write(path, layout, save_every=3) == "going on after 4 pairs of an earlier run"
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["a.h5"]


def test_an_unfinished_file_is_not_fitted(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, made_up_layout(), stop_at=5)
    with (
        pytest.raises(FileError, match=r"the extraction was not finished \(4 of 7 pairs\)\. Run the same"),
        open_activations(partial(path), RESPONSE),
    ):
        pass


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "header", "count", "shape"])
def test_a_damaged_unfinished_file_is_begun_anew(tmp_path: Path, whole: bytes, damage: str) -> None:
    path = tmp_path / "a.h5"
    write(path, made_up_layout(tokens=True), stop_at=5)
    content = partial(path).read_bytes()
    if damage in ("count", "shape"):
        with h5py.File(partial(path), "r+") as file:
            if damage == "count":
                file["pairs_done"][0] = 99
            else:
                del file["means/emoji/chosen"]
    else:
        partial(path).write_bytes(
            {
                "empty": b"",
                "garbage": b"\x89HDF\r\n\x1a\n" + b"\xff" * 5000,
                "cut": content[: len(content) // 2],
                "header": content[:100] + bytes(400) + content[500:],
            }[damage]
        )
    assert "damaged; starting anew" in write(path, made_up_layout(tokens=True))
    assert path.read_bytes() == whole


def test_what_is_not_whole_does_not_get_the_name(tmp_path: Path) -> None:
    target = ActivationWriter(tmp_path / "a.h5", made_up_layout(), 2)
    target.append(0, made_up_pair(made_up_layout(), 0))
    with pytest.raises(ConflictError, match="1 of 7 pairs were written; run again"):
        target.finish()
    target.close()
    assert not (tmp_path / "a.h5").exists()


def test_an_older_result_stays_until_the_new_one_is_whole(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "a.h5"
    write(path, made_up_layout())
    before = path.read_bytes()
    write(path, made_up_layout(tokens=True), stop_at=5, existing="overwrite")
    assert path.read_bytes() == before
    note = write(path, made_up_layout(tokens=True), existing="overwrite")
    assert note == "going on after 4 pairs of an earlier run"
    assert path.read_bytes() == whole


@pytest.mark.parametrize("locking", ["FALSE", "TRUE", "BEST_EFFORT"])
def test_a_second_writer_is_refused_and_spoils_nothing(
    tmp_path: Path, whole: bytes, locking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", locking)
    path, layout = tmp_path / "a.h5", made_up_layout(tokens=True)
    first = ActivationWriter(path, layout, 2)
    for number in range(7):
        with pytest.raises(ConflictError, match="another steer-llama is writing it"):
            ActivationWriter(path, layout, 2)
        first.append(number, made_up_pair(layout, number))
    first.finish()
    first.close()
    assert path.read_bytes() == whole
    write(path, layout)
    assert path.read_bytes() == whole


def test_a_second_process_is_refused(tmp_path: Path, whole: bytes) -> None:
    path, layout = tmp_path / "a.h5", made_up_layout(tokens=True)
    first = ActivationWriter(path, layout, 2)
    first.append(0, made_up_pair(layout, 0))
    first.append(1, made_up_pair(layout, 1))

    def second() -> None:
        with pytest.raises(ConflictError, match="another steer-llama is writing it"):
            write(path, layout)

    assert forked(second) == 0
    first.close()
    assert "after 2 pairs" in write(path, layout)
    assert path.read_bytes() == whole


def test_many_bytes_are_written_before_many_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = made_up_layout(tokens=True)
    sizes = [sum(writer._bytes_of(arm) for arm in made_up_pair(layout, n)) for n in range(7)]
    monkeypatch.setattr(writer, "HELD", sizes[0] + sizes[1] + 1)
    target = ActivationWriter(tmp_path / "a.h5", layout, 100)
    on_disk = []
    for number in range(7):
        target.append(number, made_up_pair(layout, number))
        on_disk.append(target.done)
    target.close()
    assert on_disk == [0, 0, 3, 3, 5, 6, 7]  # the last two are as many bytes each


def test_pairs_in_another_order(tmp_path: Path, whole: bytes) -> None:
    layout = made_up_layout(tokens=True)
    target = ActivationWriter(tmp_path / "a.h5", layout, 2)
    for number in (3, 0, 6, 5, 1, 2, 4):
        target.append(number, made_up_pair(layout, number))
    target.finish()
    target.close()
    assert (tmp_path / "a.h5").read_bytes() == whole


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "x", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    path = tmp_path / "a.h5"
    try:
        with pytest.raises(StorageError, match=r"needs 0\.00 GB, but only 0\.00 GB are free"):
            write(path, made_up_layout(40, width=128))
        assert list(tmp_path.iterdir()) == []
        with monkeypatch.context() as patch, pytest.raises(StorageError, match="the disk is full; free some space"):
            patch.setattr(writer, "free_bytes", lambda path: 1 << 60)
            write(path, made_up_layout(40, width=128), save_every=4)
        assert not path.exists()
        with h5py.File(partial(path), "r") as file:
            assert 4 <= file["pairs_done"][0] < 40
        subprocess.run(["mount", "-o", "remount,size=4m", str(tmp_path)], check=True)
        assert "going on after" in write(path, made_up_layout(40, width=128))
        expected = tmp_path / "b.h5"
        write(expected, made_up_layout(40, width=128))
        assert path.read_bytes() == expected.read_bytes()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_fills_up_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, layout = tmp_path / "a.h5", made_up_layout()
    target = ActivationWriter(path, layout, 2)
    for number in range(3):
        target.append(number, made_up_pair(layout, number))

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="the disk is full"):
            target.append(3, made_up_pair(layout, 3))
    target.close()
    assert not path.exists()
    assert "after 2 pairs" in write(path, layout)


def test_too_little_room_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "free_bytes", lambda path: 2000)
    with pytest.raises(StorageError, match=r"a\.h5: needs .* GB are free there\. Free some space.*--positions"):
        ActivationWriter(tmp_path / "a.h5", made_up_layout(), 2)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it is a folder"):
        ActivationWriter(tmp_path, made_up_layout(), 2)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        ActivationWriter(tmp_path / "file" / "a.h5", made_up_layout(), 2)
    for device in ("/dev/full", "/dev/null"):
        with pytest.raises(StorageError, match="device or another special file"):
            ActivationWriter(Path(device), made_up_layout(), 2)
        assert stat.S_ISCHR(Path(device).stat().st_mode)
        assert not Path(f"{device}.partial").exists()


def test_a_folder_that_appears_in_the_meantime_costs_nothing(tmp_path: Path) -> None:
    path, layout = tmp_path / "a.h5", made_up_layout()
    target = ActivationWriter(path, layout, 100)
    for number in range(7):
        target.append(number, made_up_pair(layout, number))
    path.mkdir()
    with pytest.raises(StorageError, match="it is a folder"):
        target.finish()
    target.close()
    path.rmdir()
    assert "going on after 7 pairs" in write(path, layout)


def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", made_up_layout())
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.h5").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="no permission"):
        ActivationWriter(tmp_path / "a.h5", made_up_layout(), 2)


def test_no_file_says_when_it_was_written(tmp_path: Path, whole: bytes) -> None:
    time.sleep(1.1)
    write(tmp_path / "a.h5", made_up_layout(tokens=True))
    assert (tmp_path / "a.h5").read_bytes() == whole
