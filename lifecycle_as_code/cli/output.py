"""The one place that writes: what goes to stdout and to stderr, in colour or not, and how wide."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import TextIO

import click

from ..model.diagnostics import Diagnostic
from ..views.terminal.problems import problems
from ..views.text import Paint, wrapped
from .options import Options

_WIDTH_OF_A_LOG = 120


def paint(options: Options, stream: TextIO | None = None) -> Paint:
    """Colours for a terminal that wants them: `--no-color`, NO_COLOR and TERM=dumb don't."""
    plain = options.no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Paint(not plain and (stream or sys.stdout).isatty())


def width() -> int:
    """The terminal's columns; in a file or a log, room enough for most values."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH_OF_A_LOG


def say(text: str) -> None:
    """What was asked for, on stdout."""
    _write(text, sys.stdout)


def tell(text: str) -> None:
    """What was asked for, for people: on a terminal, lines that are too long go on below, indented. In a file
    or a log a line stays one, to be searched and compared."""
    say(wrapped(text, width()) if sys.stdout.isatty() else text)


def pour(data: bytes) -> None:
    """A file's content on stdout, to the letter: for programs."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def note(text: str) -> None:
    """What accompanies it, on stderr."""
    # whoever reads both as one sees them in order
    sys.stdout.flush()
    _write(text, sys.stderr)


def warn(found: Iterable[Diagnostic], options: Options) -> None:
    """Diagnostics, on stderr."""
    if text := problems(found, paint(options, sys.stderr)):
        note(text)


def interactive(*, no_input: bool) -> bool:
    """Whether somebody is there to answer."""
    return not no_input and sys.stdin.isatty() and sys.stderr.isatty()


def _write(text: str, stream: TextIO) -> None:
    try:
        stream.write(f"{text}\n")
    except UnicodeEncodeError:
        # a terminal or a log that isn't UTF-8: arrows and dots become escapes
        encoded = text.encode(stream.encoding or "ascii", "backslashreplace")
        stream.write(f"{encoded.decode(stream.encoding or 'ascii')}\n")
    stream.flush()


def ask(question: str) -> str:
    """One line from whoever is there; nothing when they have gone."""
    sys.stdout.flush()
    click.echo(f"{question} ", nl=False, err=True)
    return sys.stdin.readline().strip()
