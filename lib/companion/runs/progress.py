"""What the user sees while runs are made: a live bar on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts of done, running and failed runs and the seconds left, on the error stream; nothing at all when quiet."""

    def __init__(self, total: int, workers: int, quiet: bool = False) -> None:
        self.total, self.workers = total, workers
        self.done = self.failed = 0
        self.console = Console(stderr=True, quiet=quiet, force_jupyter=False)
        self.live = Live(console=self.console, get_renderable=self._bar, refresh_per_second=2, transient=True)
        self.begun = self.last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.live.stop()
        self._print(f"{self.summary()}, {time.monotonic() - self.begun:.0f} s.")

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self._print(sentence)

    def finish(self, failed: bool) -> None:
        """Count one run as ended."""
        self.failed += failed
        self.done += not failed
        if not self.console.is_terminal and time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            self._print(f"{self.summary()}, {self.running} running, {self.seconds_left()}.")

    @property
    def running(self) -> int:
        """Runs in hand."""
        return min(self.workers, self.total - self.done - self.failed)

    def summary(self) -> str:
        """Such as ``3 of 9 runs done, 1 failed``."""
        return f"{self.done} of {self.total} runs done, {self.failed} failed"

    def seconds_left(self) -> str:
        """The time so far, stretched to the runs not yet ended."""
        ended = self.done + self.failed
        if not ended:
            return "time left not known yet"
        left = (time.monotonic() - self.begun) / ended * (self.total - ended)
        return f"about {left:.0f} s left"

    def _bar(self) -> Table:
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self.total, completed=self.done + self.failed, width=30)
        row.add_row(bar, f"{self.summary()}, {self.running} running, {self.seconds_left()}")
        return row

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def counted(quiet: bool = False) -> Callable[[str, int, int], None]:
    """A function to be called with a name, a count and its total; now and then, and at the end, it prints a line."""
    began: dict[str, tuple[int, float]] = {}
    last = 0.0

    def tell(name: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        first, begun = began.setdefault(name, (done, now))
        if quiet or (now - last < SECONDS_BETWEEN_LINES and done < total):
            return
        last = now
        left = f", about {(now - begun) / (done - first) * (total - done):.0f} s left" if done > first else ""
        print(f"{name}: {done} of {total} answers{left}.", file=sys.stderr, flush=True)

    return tell
