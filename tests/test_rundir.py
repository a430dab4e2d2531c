import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from steer_llama.errors import ConflictError, StorageError
from steer_llama.rundir import RunDir, Work, free_bytes

JUDGE = Work("judge", {"metric": "emoji"}, (), ("results.json",))
FILTER = Work("filter", {"threshold": 40}, (), ("filtered.json",), amends=("results.json",))
EXTRACT = Work("extract", {"positions": "all"}, ("filtered.json",), ("activations.h5",))
ALL = (JUDGE, FILTER, EXTRACT)


def do(run: RunDir, work: Work) -> None:
    """A stage whose files say what its settings were."""
    run.begin(work)
    for name in work.writes:
        run.path(name).write_text(f"{work.stage} {work.settings}")
    for name in work.amends:
        first = run.path(name).read_text().split("\n")[0]
        run.path(name).write_text(f"{first}\n{work.stage} {work.settings}")
    run.finish(work)


def rerun(root: Path, *works: Work) -> list[str]:
    """The stages that are done again, in order."""
    done: list[str] = []
    with RunDir(root).open() as run:
        for work in works:
            if not run.is_done(work):
                do(run, work)
                done.append(work.stage)
    return done


def test_a_finished_run_is_done(tmp_path: Path) -> None:
    assert rerun(tmp_path / "a" / "b", *ALL) == ["judge", "filter", "extract"]
    assert rerun(tmp_path / "a" / "b", *ALL) == []


def test_a_changed_setting_reruns_what_follows(tmp_path: Path) -> None:
    rerun(tmp_path, *ALL)
    changed = replace(EXTRACT, settings={"positions": "emoji"})
    assert rerun(tmp_path, JUDGE, FILTER, changed) == ["extract"]
    judge = replace(JUDGE, settings={"metric": "length"})
    assert rerun(tmp_path, judge, FILTER, changed) == ["judge", "filter"]


def test_an_amending_stage_reruns_without_the_stage_whose_file_it_amends(tmp_path: Path) -> None:
    rerun(tmp_path, *ALL)
    for threshold in (30, 20):
        changed = replace(FILTER, settings={"threshold": threshold})
        assert rerun(tmp_path, JUDGE, changed, EXTRACT) == ["filter", "extract"]
        assert rerun(tmp_path, JUDGE, changed, EXTRACT) == []


def test_an_amending_stage_that_is_killed_before_it_writes(tmp_path: Path) -> None:
    rerun(tmp_path, *ALL)
    changed = replace(FILTER, settings={"threshold": 30})
    with RunDir(tmp_path).open() as run:
        run.begin(changed)
    assert rerun(tmp_path, JUDGE, FILTER) == ["filter"]


def test_a_stage_that_is_killed_is_not_done(tmp_path: Path) -> None:
    rerun(tmp_path, *ALL)
    with RunDir(tmp_path).open() as run:
        run.begin(EXTRACT)
    assert rerun(tmp_path, *ALL) == ["extract"]


@pytest.mark.parametrize(
    ("name", "again"),
    [("results.json", ["judge", "filter"]), ("filtered.json", ["filter"]), ("activations.h5", ["extract"])],
)
def test_a_file_that_was_changed_or_deleted_is_made_again(tmp_path: Path, name: str, again: list[str]) -> None:
    rerun(tmp_path, *ALL)
    (tmp_path / name).write_text("foreign")
    assert rerun(tmp_path, *ALL) == again
    (tmp_path / name).unlink()
    assert rerun(tmp_path, *ALL) == again


def test_a_touched_file_is_the_same(tmp_path: Path) -> None:
    rerun(tmp_path, *ALL)
    os.utime(tmp_path / "filtered.json")
    assert rerun(tmp_path, *ALL) == []


@pytest.mark.parametrize(
    "ledger",
    [
        "",
        "{",
        "[]",
        '"x"',
        '{"stages": []}',
        '{"stages": 3, "stats": {}}',
        '{"stages": {"judge": 5}, "stats": {}}',
        "\udcff",
    ],
)
def test_a_broken_ledger_means_that_nothing_is_done(tmp_path: Path, ledger: str) -> None:
    rerun(tmp_path, *ALL)
    (tmp_path / ".steer-llama.json").write_bytes(ledger.encode(errors="surrogateescape"))
    assert rerun(tmp_path, *ALL) == ["judge", "filter", "extract"]
    assert rerun(tmp_path, *ALL) == []


def test_the_ledger_holds_no_secrets_and_no_settings(tmp_path: Path) -> None:
    rerun(tmp_path, replace(JUDGE, settings={"anything": "sk-secret"}))
    assert "sk-secret" not in (tmp_path / ".steer-llama.json").read_text()
    assert set(json.loads((tmp_path / ".steer-llama.json").read_text())) == {"stages", "stats"}


def test_a_second_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from steer_llama.errors import ConflictError
from steer_llama.rundir import RunDir
try:
    with RunDir(Path(sys.argv[1])).open():
        print("in")
except ConflictError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with RunDir(tmp_path).open():
        with pytest.raises(ConflictError, match="another steer-llama"), RunDir(tmp_path).open():
            pass
        other = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "another steer-llama is at work" in other.stdout
    with RunDir(tmp_path).open():
        pass


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunDir(tmp_path).open():
        raise ZeroDivisionError
    with RunDir(tmp_path).open():
        pass


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(StorageError, match="is a file; name a folder"), RunDir(tmp_path / "out").open():
        pass
    with pytest.raises(StorageError, match="a part of the path is a file"), RunDir(tmp_path / "out" / "run").open():
        pass


def test_free_space_of_a_place_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b" / "c.h5") > 0
