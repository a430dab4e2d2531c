"""Telling the user what is going on: one live bar a stage on a terminal, plain lines elsewhere."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_SECONDS_BETWEEN_LINES = 5.0
"""Of a task's progress, where there is no terminal."""


class Reporter(Protocol):
    """Where stages say what they do."""

    def note(self, text: str) -> None:
        """One plain line: a fact worth keeping (a count, a fallback, a choice and its reason)."""
        ...

    def task(self, title: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """A piece of work of ``total`` units, ``done`` of them before; yields a function that advances it."""
        ...


class ConsoleReporter:
    """Shows progress on a console (standard error, so that standard output stays the result's)."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._title = ""

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Name what the following tasks and notes belong to, and say how long it took."""
        began = time.monotonic()
        previous, self._title = self._title, title
        try:
            yield
        finally:
            self._title = previous
        # Reached on success only: a failed stage has its error as the last word.
        seconds = time.monotonic() - began
        self.console.print(f"[green]✓[/green] [bold]{title:<8}[/bold] [dim]{seconds:.1f} s[/dim]", highlight=False)

    def done_before(self, title: str) -> None:
        """Say that a stage has nothing to do."""
        self.console.print(f"[green]✓[/green] [bold]{title:<8}[/bold] [dim]done before[/dim]", highlight=False)

    def note(self, text: str) -> None:
        """Print one line, exactly as it is: no markup, no ``:smile:``."""
        self.console.print(Text.assemble("  ", (_prefix(self._title), "dim"), text), soft_wrap=True)

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
        """A live bar on a terminal; elsewhere a line every few seconds, so that short tasks have none."""
        if self.console.is_terminal:
            with self._live() as progress:
                bar = progress.add_task(f"{_prefix(self._title)}{title}", total=total, completed=done, unit=unit)
                yield lambda count: progress.advance(bar, count)
            return
        state: dict[str, float] = {"done": done, "said": time.monotonic()}

        def advance(count: int) -> None:
            state["done"] += count
            if time.monotonic() - state["said"] >= _SECONDS_BETWEEN_LINES:
                state["said"] = time.monotonic()
                self.note(f"{title}: {state['done']:.0f}/{total} {unit}")

        yield advance

    def _live(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )


class SilentReporter:
    """Keeps the notes and shows nothing: for use as a library and in tests."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep the line."""
        self.notes.append(text)

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:  # noqa: ARG002
        """Nothing to show."""
        yield lambda count: None  # noqa: ARG005


def tame_libraries() -> None:
    """Settle how the libraries below us behave; to be called before any of them is imported.

    Their bars and warnings stay off the user's screen (their errors still come through). And threads of OpenMP that
    wait sleep instead of spinning: beside another busy process, spinning makes generation several times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.getLogger("transformers").setLevel(logging.ERROR)


def _prefix(title: str) -> str:
    return f"{title}: " if title else ""
