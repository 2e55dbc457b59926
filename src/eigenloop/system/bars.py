"""Progress bars on standard error, with time left; a line every 10 % where standard error is no
terminal.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PATIENCE = 1.0
"""Seconds that lines are held back: what is refused within them is refused in one line alone."""


class Bars:
    """One bar for each name; `tell(name, done, total)` moves it."""

    def __init__(self, progress: Progress) -> None:
        """Wrap Rich's display."""
        self._progress, self._tasks, self._tenths = progress, {}, {}
        self._held: dict[str, str] = {}
        self._began = time.monotonic()
        self._lock = threading.Lock()
        # work that says nothing more would stay unseen
        self._timer = threading.Timer(PATIENCE, self.say)
        self._timer.daemon = True

    def tell(self, name: str, done: int, total: int) -> None:
        """Say how far a piece of work is."""
        if not self._progress.console.is_terminal:
            tenth = 10 * done // max(total, 1)
            if tenth != self._tenths.get(name):
                self._tenths[name] = tenth
                with self._lock:
                    self._held[name] = f"{name}: {done:,} of {total:,}"
                if self._timer.ident is None:
                    self._timer.start()
                if time.monotonic() - self._began >= PATIENCE:
                    self.say()
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, visible=done < total)

    def say(self) -> None:
        """Print the last line that is held back of each name."""
        with self._lock:
            lines = list(self._held.values())
            self._held.clear()
            for line in lines:
                self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def end(self) -> None:
        """Print nothing from now on but what is asked for."""
        self._timer.cancel()


@contextmanager
def bars() -> Iterator[Bars]:
    """Show bars while the block runs; lines that are held back are dropped where it fails."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        shown = Bars(progress)
        try:
            yield shown
        finally:
            shown.end()
        shown.say()
