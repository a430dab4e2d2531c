import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from steer_llama.errors import FileError, RecordError, StorageError
from steer_llama.files import (
    atomic_path,
    digest_file,
    digest_json,
    read_json,
    read_jsonl,
    read_text,
    storage_errors,
    write_json,
    write_jsonl,
    write_text,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.json"
    write_json(path, {"é": "🙂"})
    assert read_json(path, "x") == {"é": "🙂"}
    assert "🙂" in path.read_text(encoding="utf-8")
    rows = tmp_path / "rows.jsonl"
    write_jsonl(rows, [{"a": "1\u2028\n"}, {"b": 2}])
    assert read_jsonl(rows, "x") == [(1, {"a": "1\u2028\n"}), (2, {"b": 2})]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"file\.txt: the disk is full; free some space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_grows_too_large_keeps_the_old_one(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from steer_llama.errors import StorageError
from steer_llama.files import write_text
path = Path(sys.argv[1])
write_text(path, "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(path, "x" * 100_000)
except StorageError as error:
    print(error)
"""
    path = tmp_path / "file.txt"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert "larger than the system allows" in done.stdout
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "x", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        write_text(tmp_path / "file.txt", "old")
        with pytest.raises(StorageError, match="the disk is full"):
            write_text(tmp_path / "file.txt", "x" * 200_000)
        assert (tmp_path / "file.txt").read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("odd", ["/dev/full", "/dev/null"])
def test_devices_are_refused(odd: str) -> None:
    with pytest.raises(StorageError, match="device or another special file"):
        write_text(Path(odd), "x")
    assert stat.S_ISCHR(Path(odd).stat().st_mode)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it is a folder"):
        write_text(tmp_path, "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(StorageError, match="name is too long"):
        write_text(tmp_path / ("x" * 300), "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="no permission"):
        write_text(tmp_path / "file", "x")


def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_errors_that_are_not_the_storages_pass_through(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="strange"), storage_errors(tmp_path):
        raise OSError(errno.EIO, "strange")
    with pytest.raises(StorageError, match="disk is full"), storage_errors(tmp_path):
        raise OSError("unable to write: No space left on device")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "not UTF-8 text at byte 0"),
        (b'{"a": 1,}', "not JSON at line 1, column"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b"9" * 5000, "JSON that cannot be read"),
        (b"[" * 100_000, "JSON that cannot be read"),
        (b'{"a": "so \\ud83d"}', 'half a character after \'{"a": "so \''),
    ],
)
def test_files_that_are_no_json(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=says) as caught:
        read_json(path, "the pairs")
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_and_a_repeated_key_of_one_value_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": "\\ud83d\\ude42", "a": "\\ud83d\\ude42"}')
    assert read_json(path, "x") == {"a": "🙂"}


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no such file \(expected the pairs\)"):
        read_text(tmp_path / "none", "the pairs")
    with pytest.raises(FileError, match="is a folder"):
        read_text(tmp_path, "the pairs")
    with pytest.raises(FileError, match="File name too long"):
        read_text(tmp_path / ("x" * 300), "the pairs")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="no such file"):
        read_text(tmp_path / "file" / "below", "the pairs")


@pytest.mark.parametrize(
    ("line", "says"),
    [("{", "line 3: not JSON"), ("[1]", "line 3: a JSON list"), ('{"a": "\\ud83d"}', "line 3: half a character")],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a": 1}}\n\n{line}\n')
    with pytest.raises(RecordError, match=says):
        read_jsonl(path, "rows")


def test_digests(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    read: list[int] = []
    assert digest_file(path, read.append).startswith("ba7816bf")
    assert read == [3]
    assert digest_json({"a": 1, "b": "é"}) == digest_json({"b": "é", "a": 1}) != digest_json({"a": 2, "b": "é"})
