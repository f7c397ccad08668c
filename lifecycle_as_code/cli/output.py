"""All output of the command: stdout and stderr, colours and widths."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import TextIO

import click

from ..model.diagnostics import Diagnostic, LacError
from ..views.terminal.problems import problems
from ..views.text import Paint, wrap
from .options import Options

_WIDTH_OF_A_LOG = 120


def paint(options: Options, stream: TextIO | None = None) -> Paint:
    """Colours for a terminal, unless `--no-color`, NO_COLOR or TERM=dumb turn them off."""
    plain = options.no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Paint(not plain and (stream or sys.stdout).isatty())


def width() -> int:
    """The terminal's columns; for a file or a log, a width that fits most values."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH_OF_A_LOG


def say(text: str) -> None:
    """Print the command's result on stdout."""
    _write(text, sys.stdout)


def tell(text: str) -> None:
    """Print text for people on stdout. Long lines are wrapped on a terminal only, so that files and logs can
    be searched and compared."""
    say(wrap(text, width()) if sys.stdout.isatty() else text)


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout unchanged, for programs."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def note(text: str) -> None:
    """Print a remark on stderr."""
    # keeps the order for a reader of both streams
    sys.stdout.flush()
    _write(text, sys.stderr)


def warn(diagnostics: Iterable[Diagnostic], options: Options) -> None:
    """Print diagnostics on stderr."""
    if text := problems(diagnostics, paint(options, sys.stderr)):
        note(text)


def is_interactive() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _write(text: str, stream: TextIO) -> None:
    try:
        stream.write(f"{text}\n")
    except UnicodeEncodeError:
        # not UTF-8: arrows and dots become escapes
        data = text.encode(stream.encoding or "ascii", "backslashreplace")
        stream.write(f"{data.decode(stream.encoding or 'ascii')}\n")
    stream.flush()


def confirm(question: str) -> bool:
    """Ask a question on stderr. True only for the answer `yes`."""
    sys.stdout.flush()
    click.echo(f"{question} Type `yes` to confirm: ", nl=False, err=True)
    return sys.stdin.readline().strip() == "yes"


def failure(code: str, summary: str, detail: str, hint: str = "") -> LacError:
    """An error of one diagnostic."""
    return LacError(Diagnostic(code, summary, detail, hint))
