"""What the user sees while runs are made: a live view on a terminal or in a notebook, now and then a line elsewhere.

The view is the same everywhere: it shows a :class:`companion.runs.status.Status`.
"""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from companion.runs.status import Counts, Failure, Running, Status

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_QUIET_LINES = 60.0
"""How long a stream that is no terminal stays silent where no run ends."""
SECONDS_BETWEEN_LOOKS = 0.5
FAILURES_SHOWN = 5
ERROR_SHOWN = 300
NAMED_IN_A_LINE = 2
PAGE_WIDTH = 100
BAR = 30

Look = Callable[[], Sequence[Status]]


class Progress:
    """The grid while it is made, on the error stream or in the cell of a notebook; nothing at all when quiet.

    What cannot be looked at or shown does not end what is made.

    Args:
        total, done: of all runs, and those made before.
        look: where the runs are now.
    """

    def __init__(self, total: int, done: int, look: Look, quiet: bool = False) -> None:
        self.total, self.done, self.failed = total, done, 0
        self.console = _Terminal(stderr=True, quiet=quiet, force_jupyter=False)
        self.view = _View(self.console, look)
        self.begun = time.monotonic()

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self.view.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self.view.close()
        if not self.view.in_cell:
            self.print_sentence(f"{self.summary()}, {format_duration(time.monotonic() - self.begun)}.")

    def print_sentence(self, sentence: str) -> None:
        """Print a sentence above the view."""
        _print(self.console, sentence)

    def finish(self, failed: bool) -> None:
        """Count one run as ended."""
        self.failed += failed
        self.done += not failed

    def refresh(self, ended: bool) -> None:
        """Show how it stands; to be called about every ``SECONDS_BETWEEN_LOOKS``, and with ``ended`` after a run."""
        with contextlib.suppress(OSError):
            self.view.refresh(ended)

    def summary(self) -> str:
        """Such as ``3 of 9 runs done, 1 failed``."""
        return f"{self.done} of {self.total} runs done, {self.failed} failed"


class _Terminal(Console):
    """Falls silent when its stream is lost (its reader ended, its terminal is gone), where rich ends the process."""

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True


class _View:
    """Where a grid is shown again and again: live on a terminal or in a notebook's cell, else lines."""

    def __init__(self, console: Console, look: Look) -> None:
        self.console, self.look = console, look
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.in_cell = not console.quiet and is_in_notebook()
        self.cell: Any = None
        self.last_line, self.news = time.monotonic(), False

    def open(self) -> None:
        if self.in_cell:
            from IPython.display import display

            self.cell = display(Page(self.look()), display_id=True)
        elif self.console.is_terminal and not self.console.quiet:
            self.live.start()
            self.refresh(ended=False)

    def refresh(self, ended: bool) -> None:
        if self.cell is not None:
            self.cell.update(Page(self.look()))
        elif self.live.is_started:
            self.live.update(render_statuses(self.look()), refresh=True)
        elif not self.console.quiet:
            self._lines(ended)

    def _lines(self, ended: bool) -> None:
        self.news |= ended
        now, wait = time.monotonic(), SECONDS_BETWEEN_LINES if self.news else SECONDS_BETWEEN_QUIET_LINES
        # Right after the end of a run the next one has logged nothing yet, so the line may come a little later.
        if now - self.last_line >= (2 * wait if ended else wait):
            self.last_line, self.news = now, False
            for status in self.look():
                if status.whole.running or status.whole.waiting:
                    _print(self.console, format_status(status))

    def close(self) -> None:
        if self.cell is not None:
            self.cell.update(Page(self.look()))
        self.live.stop()


class Page:
    """What a notebook shows of some grids."""

    def __init__(self, statuses: Sequence[Status]) -> None:
        self.statuses = statuses

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """HTML and plain text; whatever stands in an error is shown as it is."""
        console = Console(record=True, file=io.StringIO(), width=PAGE_WIDTH, force_jupyter=False)
        console.print(render_statuses(self.statuses))
        style = "white-space:pre;overflow-x:auto;line-height:normal;font-family:monospace"
        html = console.export_html(inline_styles=True, clear=False, code_format=f'<pre style="{style}">{{code}}</pre>')
        return {"text/html": html, "text/plain": console.export_text()}


def watch(look: Look) -> Sequence[Status]:
    """Show grids on the output stream until nothing is left to do, or Ctrl-C; gives what was seen last."""
    shown = _View(Console(force_jupyter=False), look)
    statuses = look()
    try:
        shown.open()
        while (
            any(one.live for one in statuses)
            or any(one.whole.waiting for one in statuses if not one.optional)
            or not statuses
        ):
            time.sleep(SECONDS_BETWEEN_LOOKS)
            before, statuses = statuses, look()
            shown.refresh(ended=[one.whole for one in before] != [one.whole for one in statuses])
    except KeyboardInterrupt:
        pass
    finally:
        shown.close()
    return statuses


def format_statuses(statuses: Sequence[Status]) -> str:
    """The view as a text for the output stream: as wide as the terminal, with colours if that shows them."""
    console = Console(force_jupyter=False)
    if not console.is_terminal:
        console.width = max(console.width, PAGE_WIDTH)
    with console.capture() as captured:
        console.print(render_statuses(statuses))
    return captured.get().rstrip("\n")


def render_statuses(statuses: Sequence[Status]) -> RenderableType:
    """Summary and bar, the current runs, what failed, and the counts by group."""
    if not statuses:
        return Text("Nothing has started yet.")
    return Group(*(part for status in statuses for part in _parts(status)))


def format_status(status: Status) -> str:
    """The view in one line."""
    named = [f"{one.name}: {_place(one)}{_loss(one, ', loss ')}" for one in status.running[:NAMED_IN_A_LINE]]
    if more := len(status.running) - len(named):
        named.append(f"{more} more")
    return f"{_summary(status)}{' (' * bool(named)}{'; '.join(named)}{')' * bool(named)}."


def format_duration(seconds: float) -> str:
    """Such as ``40 s``, ``12 min``, ``1 h 52 min`` or ``3 days 4 h``."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def is_in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def make_progress_printer(quiet: bool = False) -> Callable[[str, int, int], None]:
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


def _parts(status: Status) -> list[RenderableType]:
    whole = status.whole
    parts: list[RenderableType] = [Text(_summary(status))]
    if whole.done + whole.failed < whole.total:
        parts.append(ProgressBar(total=whole.total, completed=whole.done + whole.failed, width=BAR))
    if status.running:
        parts += [Text(), _running_table(status.running)]
    if status.failures:
        parts += [Text(), *map(_failure, status.failures[:FAILURES_SHOWN])]
    if len(status.failures) > FAILURES_SHOWN:
        parts.append(Text(f"and {len(status.failures) - FAILURES_SHOWN} more"))
    if len(status.groups) > 1:
        parts += [Text(), _group_table(status.groups)]
    return parts


def _failure(one: Failure) -> Text:
    error = one.error if len(one.error) <= ERROR_SHOWN else f"{one.error[:ERROR_SHOWN]}..."
    return Text(f"{one.name} failed: {error} (log: {one.log})", "red")


def _summary(status: Status) -> str:
    whole = status.whole
    said = [f"{whole.done} of {whole.total} {status.what} done", f"{whole.failed} failed"]
    if whole.running or whole.waiting:
        said += [f"{whole.running} running", f"{whole.waiting} waiting"]
        said.append(_left(status))
    return ", ".join(said)


def _left(status: Status) -> str:
    if not status.live:
        return "no process is making them"
    return (
        "time left not known yet"
        if status.seconds_left is None
        else f"about {format_duration(status.seconds_left)} left"
    )


def _running_table(running: Sequence[Running]) -> Table:
    table = _table("running", "at", "loss", "examples/s", "time")
    for one in running:
        speed = f"{one.per_second:.{0 if one.per_second >= 10 else 1}f}" if one.per_second else ""
        table.add_row(
            _cut(one.name), _place(one), _loss(one), speed, format_duration(one.seconds) if one.seconds else ""
        )
    return table


def _group_table(groups: Sequence[Counts]) -> Table:
    table = _table("group", "done", "running", "failed", "waiting")
    for one in groups:
        others = (str(number or "") for number in (one.running, one.failed, one.waiting))
        table.add_row(_cut(one.group), f"{one.done} of {one.total}", *others)
    return table


def _table(first: str, *others: str) -> Table:
    """Columns without lines; where there is little room the first one is cut."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, no_wrap=True, justify="right")
    return table


def _cut(name: str) -> Text:
    return Text(name, no_wrap=True, overflow="ellipsis")


def _place(one: Running) -> str:
    return f"{one.phase} {one.done} of {one.total}" if one.total else one.phase


def _loss(one: Running, before: str = "") -> str:
    return "" if one.loss is None else f"{before}{one.loss:.3f}"


def _print(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
