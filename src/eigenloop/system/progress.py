"""Progress bars on standard error, with time left; a line every 10 % where standard error is no terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bars:
    """One bar for each name; `tell(name, done, total)` moves it."""

    def __init__(self, progress: Progress) -> None:
        """Wrap Rich's display."""
        self._progress, self._tasks, self._tenths = progress, {}, {}

    def tell(self, name: str, done: int, total: int) -> None:
        """Say how far a piece of work is."""
        if not self._progress.console.is_terminal:
            tenth = 10 * done // max(total, 1)
            if tenth != self._tenths.get(name):
                self._tenths[name] = tenth
                self._progress.console.print(f"{name}: {done:,} of {total:,}", highlight=False)
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, visible=done < total)


@contextmanager
def bars() -> Iterator[Bars]:
    """Show bars while the block runs."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Bars(progress)
