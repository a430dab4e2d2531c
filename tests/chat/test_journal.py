import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from steer_llama.chat import Journal
from steer_llama.errors import ConflictError, RecordError, StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "responses.journal.jsonl"


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rows(path: Path) -> list[dict[str, str]]:
    with Journal(path) as journal:
        return journal.load()


def test_what_is_appended_is_there_at_once(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.load() == []
        assert not path.exists()
        assert journal.append({"key": "a", "text": "🙂"})
        assert lines(path) == [{"key": "a", "text": "🙂"}]
        assert journal.append({"key": "b"})
        assert "b" in journal
    assert rows(path) == [{"key": "a", "text": "🙂"}, {"key": "b"}]


def test_of_two_lines_with_one_key_the_first_stays(path: Path) -> None:
    with Journal(path) as journal:
        journal.append({"key": "a", "text": "first"})
        assert not journal.append({"key": "a", "text": "second"})
    with path.open("a") as file:
        file.write('{"key": "a", "text": "third"}\n')
    assert rows(path) == [{"key": "a", "text": "first"}]
    with Journal(path) as journal:
        assert not journal.append({"key": "a", "text": "fourth"})


@pytest.mark.parametrize("torn", [b'{"key": "b", "te', b'{"key": "b"', "é".encode()[:1], b"\0" * 100, b"  "])
def test_a_torn_last_line_is_cut_off(path: Path, torn: bytes) -> None:
    with Journal(path) as journal:
        journal.append({"key": "a"})
    with path.open("ab") as file:
        file.write(torn)
    with Journal(path) as journal:
        assert journal.load() == [{"key": "a"}]
        journal.append({"key": "c"})
    assert lines(path) == [{"key": "a"}, {"key": "c"}]


def test_a_last_line_that_lacks_only_its_end_is_kept(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"key": "a"}')
    with Journal(path) as journal:
        journal.append({"key": "b"})
        journal.append({"key": "c"})
    assert lines(path) == [{"key": "a"}, {"key": "b"}, {"key": "c"}]


@pytest.mark.parametrize("broken", ['{"key": "b"', "[1]", '{"text": "no key"}', '{"key": 3}', "\udcff"])
def test_a_broken_line_in_the_middle_is_named(path: Path, broken: str) -> None:
    path.parent.mkdir()
    path.write_bytes(f'{{"key": "a"}}\n\n{broken}\n{{"key": "c"}}\n'.encode(errors="surrogateescape"))
    before = path.read_bytes()
    with pytest.raises(RecordError, match="line 3: not a JSON object"):
        rows(path)
    with Journal(path) as journal, pytest.raises(RecordError):
        journal.append({"key": "d"})
    assert path.read_bytes() == before


def test_appending_goes_on_after_closing(path: Path) -> None:
    journal = Journal(path)
    journal.append({"key": "a"})
    journal.close()
    journal.append({"key": "b"})
    journal.close()
    assert rows(path) == [{"key": "a"}, {"key": "b"}]


def test_a_full_disk_leaves_the_lines_before_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        journal.append({"key": "a"})

        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(StorageError, match="disk is full"):
                journal.append({"key": "b"})
        assert lines(path) == [{"key": "a"}]
        journal.append({"key": "c"})
    assert lines(path) == [{"key": "a"}, {"key": "c"}]


def test_a_file_that_may_not_grow(path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from steer_llama.chat.journal import Journal
from steer_llama.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
with Journal(Path(sys.argv[1])) as journal:
    journal.append({"key": "a"})
    try:
        journal.append({"key": "b", "text": "x" * 100})
    except StorageError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert "larger than the system allows" in done.stdout
    assert lines(path) == [{"key": "a"}]


@pytest.mark.parametrize("odd", ["/dev/full", "."])
def test_what_is_no_regular_file_is_refused(odd: str) -> None:
    with pytest.raises(StorageError, match="regular file"), Journal(Path(odd)) as journal:
        journal.append({"key": "a"})


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as first:
        first.append({"key": "a"})
        with pytest.raises(ConflictError, match="another steer-llama is writing"), Journal(path):
            pass
    with Journal(path) as again:
        assert [row["key"] for row in again.load()] == ["a"]
