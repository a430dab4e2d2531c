"""``dpo_activations.log``: what an extraction did, line by line, beside the file that it writes."""

import logging
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steer_llama.errors import InputError
from steer_llama.files import storage_reason
from steer_llama.progress import Reporter

NAME = "dpo_activations.log"

_log = logging.getLogger("steer_llama")
_ENGINE = "steer_llama.activations"
_FORMAT = "%(asctime)s - %(levelname)s - %(message)s"


@contextmanager
def extraction_log(folder: Path, reporter: Reporter) -> Iterator[Reporter]:
    """Keep a log in ``folder``, at the end of the one that is there.

    It holds what the reporter that is given back is told, what steer-llama's loggers say, warnings, and how it ended.
    It is never in the way: where it cannot be written, that is said, and the work goes on. Input that is refused before
    anything is written leaves no log either.
    """
    handler = _Handler(folder / NAME, reporter)
    level, show = _log.level, warnings.showwarning
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    warnings.showwarning = _also_logged(show)
    try:
        yield _LoggedReporter(reporter)
        handler.begin()
        _log.info("done")
    except InputError as error:
        _log.error("failed: %s\n%s", error, traceback.format_exc().rstrip())
        raise
    except Exception as error:
        handler.begin()
        _log.error("failed: %s\n%s", error, traceback.format_exc().rstrip())
        raise
    except BaseException as error:
        handler.begin()
        _log.warning("stopped (%s); what was saved is kept, and the same command goes on from there", _kind(error))
        raise
    finally:
        warnings.showwarning = show
        _log.removeHandler(handler)
        _log.setLevel(level)
        handler.close()


class _Handler(logging.Handler):
    """Appends to a file, from the first word of the engine on: then something is written beside the log too."""

    def __init__(self, path: Path, reporter: Reporter) -> None:
        super().__init__()
        self._path, self._reporter = path, reporter
        self._held: list[logging.LogRecord] | None = []
        self._file: _File | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or keep it until there is a file."""
        if self._held is not None:
            self._held.append(record)
            if record.name.startswith(_ENGINE):
                self.begin()
        elif self._file is not None:
            self._file.handle(record)

    def begin(self) -> None:
        """Open the file and write what was said so far."""
        if self._held is None:
            return
        held, self._held = self._held, None
        try:
            self._file = _File(self._path, self._reporter)
        except OSError as error:
            reason = storage_reason(error) or error.strerror
            self._reporter.note(f"warning: no log: {self._path} cannot be written ({reason})")
            return
        for record in held:
            self._file.handle(record)

    def close(self) -> None:
        """Say where the log is."""
        if self._file is not None:
            self._file.close()
            self._reporter.note(f"log: {self._path}")
        super().close()


class _File(logging.FileHandler):
    """The file; a full disk costs the log and nothing else."""

    def __init__(self, path: Path, reporter: Reporter) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter(_FORMAT))
        self._path, self._reporter, self._lost = path, reporter, False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging's own
        """Say once that lines are lost."""
        if not self._lost:
            self._lost = True
            self._reporter.note(f"warning: {self._path} can no longer be written; the work goes on without it")

    def close(self) -> None:
        """As for any file, but that a full disk does not matter."""
        try:
            super().close()
        except OSError:
            self.handleError(logging.makeLogRecord({}))


class _LoggedReporter:
    """Tells another reporter, and the log."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def note(self, text: str) -> None:
        """See `Reporter`."""
        _log.info("%s", text)
        self._reporter.note(text)

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
        """See `Reporter`."""
        _log.info("%s: %d %s%s", title, total, unit, f", {done} of them before" if done else "")
        began = time.monotonic()
        with self._reporter.task(title, total, unit, done) as advance:
            yield advance
        _log.info("%s: finished after %.1f s", title, time.monotonic() - began)


def _also_logged(show: Callable[..., Any]) -> Callable[..., Any]:
    def shown(message: Any, category: Any, *where: Any, **how: Any) -> None:
        _log.warning("%s: %s", category.__name__, message)
        show(message, category, *where, **how)

    return shown


def _kind(error: BaseException) -> str:
    """The signal's name, where the exception says which one it was."""
    number = error.args[0] if error.args else None
    names = {int(known): known.name for known in signal.Signals}
    return names.get(number, type(error).__name__) if isinstance(number, int) else type(error).__name__
