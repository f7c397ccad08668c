"""The progress of an apply: JSON lines, plain lines for a log, or lines above a spinner."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..model.events import Event, Locked, Progress, StepStarted
from ..views import json
from ..views.terminal import events as view
from .options import Options
from .output import paint, say

Report = Callable[[Event], None]


@contextmanager
def reporter(options: Options, *, as_json: bool) -> Iterator[Report]:
    """A function that prints one event."""
    if as_json:
        yield lambda event: say(json.event(event))
    elif not sys.stdout.isatty() or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
        yield _plain(options)
    else:
        with _live(options) as report:
            yield report


def _plain(options: Options) -> Report:
    """A line an event; equal lines in a row are printed once."""
    last = ""

    def report(event: Event) -> None:
        nonlocal last
        line = view.line(event, paint(options))
        if line is not None and line != last:
            say(line)
            last = line

    return report


@contextmanager
def _live(options: Options) -> Iterator[Report]:
    """Results as lines, and the current operation beside a spinner below them."""
    # imported here: only a terminal needs it
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, no_color=not paint(options).colour)
    with console.status(Text("starting")) as status:

        def report(event: Event) -> None:
            if isinstance(event, Progress):
                status.update(Text(view.progress(event)))
                return
            if isinstance(event, Locked):
                status.update(Text("applying"))
            if isinstance(event, StepStarted):
                status.update(Text(str(event.phase)))
            if line := view.line(event, paint(options)):
                console.print(Text.from_ansi(line), soft_wrap=True)

        yield report
