import errno
import logging
import os
import re
import warnings
from pathlib import Path

import pytest

from steer_llama.errors import ModelError
from steer_llama.progress import SilentReporter
from steer_llama.stages.extraction_log import NAME, extraction_log

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (INFO|WARNING|ERROR) - (.+)")


def logged(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    return [found.groups() for line in lines if (found := LINE.fullmatch(line))]  # type: ignore[misc]


def test_what_is_told_goes_both_ways(tmp_path: Path) -> None:
    reporter = SilentReporter()
    with extraction_log(tmp_path / "new", reporter) as log:
        log.note("a fact 😀")
        with log.task("reading", 10, "pairs", 4) as advance:
            advance(6)
        logging.getLogger("steer_llama.activations").info("saved")
        logging.getLogger("somebody.else").warning("not ours")
    assert reporter.notes == ["a fact 😀", f"log: {tmp_path / 'new' / NAME}"]
    said = logged(tmp_path / "new")
    assert said[:2] == [("INFO", "a fact 😀"), ("INFO", "reading: 10 pairs, 4 of them before")]
    assert re.fullmatch(r"reading: finished after \d+\.\d s", said[2][1])
    assert said[3:] == [("INFO", "saved"), ("INFO", "done")]


def test_another_run_is_appended_and_nothing_is_left_behind(tmp_path: Path) -> None:
    logger, show = logging.getLogger("steer_llama"), warnings.showwarning
    before = (logger.level, list(logger.handlers))
    for number in range(2):
        with extraction_log(tmp_path, SilentReporter()) as log:
            log.note(f"run {number}")
    assert [text for _, text in logged(tmp_path)] == ["run 0", "done", "run 1", "done"]
    assert (logger.level, logger.handlers) == before
    assert warnings.showwarning is show


def test_an_error_has_its_traceback(tmp_path: Path) -> None:
    reporter = SilentReporter()
    with pytest.raises(ModelError), extraction_log(tmp_path, reporter) as log:
        log.note("a fact")
        logging.getLogger("steer_llama.activations.engine").info("begun")
        raise ModelError("it overflows")
    assert logged(tmp_path) == [("INFO", "a fact"), ("INFO", "begun"), ("ERROR", "failed: it overflows")]
    assert "Traceback (most recent call last)" in (tmp_path / NAME).read_text()
    assert reporter.notes == ["a fact", f"log: {tmp_path / NAME}"]


def test_input_that_is_refused_at_once_leaves_nothing(tmp_path: Path) -> None:
    reporter = SilentReporter()
    with pytest.raises(ModelError), extraction_log(tmp_path / "new", reporter) as log:
        log.note("a fact")
        raise ModelError("no such model")
    assert list(tmp_path.iterdir()) == []
    assert reporter.notes == ["a fact"]


def test_a_fault_of_ours_is_logged_whenever_it_comes(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), extraction_log(tmp_path, SilentReporter()):
        raise ZeroDivisionError("oh")
    assert logged(tmp_path) == [("ERROR", "failed: oh")]


def test_a_stop_is_no_error(tmp_path: Path) -> None:
    class Stopped(BaseException):
        pass

    for error in (Stopped(15), KeyboardInterrupt()):
        with pytest.raises(type(error)), extraction_log(tmp_path, SilentReporter()):
            raise error
    assert [(level, text.split(";")[0]) for level, text in logged(tmp_path)] == [
        ("WARNING", "stopped (SIGTERM)"),
        ("WARNING", "stopped (KeyboardInterrupt)"),
    ]


def test_warnings_are_logged_and_shown(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with extraction_log(tmp_path, SilentReporter()):
            warnings.warn("mind the gap", UserWarning, stacklevel=1)
    assert logged(tmp_path)[0] == ("WARNING", "UserWarning: mind the gap")
    assert [str(warning.message) for warning in shown] == ["mind the gap"]


def test_a_log_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    reporter = SilentReporter()
    with extraction_log(tmp_path, reporter) as log:
        log.note("a fact")
    assert reporter.notes == [
        "a fact",
        f"warning: no log: {tmp_path / NAME} cannot be written (it is a folder; name a file)",
    ]


def test_a_disk_that_fills_up_costs_the_log_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / NAME).symlink_to("/dev/full")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (tmp_path / NAME).write_text("x")
    reporter = SilentReporter()
    with extraction_log(tmp_path, reporter) as log:
        log.note("one")
        log.note("two")
    assert reporter.notes == [
        "one",
        "two",
        f"warning: {tmp_path / NAME} can no longer be written; the work goes on without it",
        f"log: {tmp_path / NAME}",
    ]
    assert capfd.readouterr() == ("", "")
