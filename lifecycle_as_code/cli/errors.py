"""Exceptions become text and an exit code here, and nowhere else."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from ..model.diagnostics import Diagnostic, LacError, Severity
from ..model.text import shorten
from .display import show_problems
from .files import find_way_out
from .options import Options
from .output import note, warn


def report_error(error: BaseException, args: Sequence[str], options: Options) -> int:
    """Print an error on stderr and, in the view that `args` name, on stdout. Returns the exit code."""
    # a usage error may occur before the options are read
    options.no_color = options.no_color or "--no-color" in args
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        note(error.ctx.get_help() if error.ctx else error.format_message())
        return 1
    if os.environ.get("LAC_DEBUG") == "1":
        traceback.print_exception(error)
    diagnostics = _diagnostics(error)
    warn(diagnostics, options)
    sys.stderr.flush()
    show_problems(diagnostics, args)
    return 1


def report_lost_output(error: OSError, options: Options) -> int:
    """Report that stdout is incomplete. Returns the exit code: 0 after a complete apply, otherwise 1."""
    severity: Severity = "warning" if options.is_applied else "error"
    detail = f"stdout: {error.strerror}. The command itself succeeded."
    hint = "run `lac history` to see what was applied"
    if not options.is_applied:
        hint = "free some disk space, then run the command again"
    warn(
        [Diagnostic("output-lost", "the output could not be written", detail, hint, severity=severity)],
        options,
    )
    return 0 if options.is_applied else 1


def _diagnostics(error: BaseException) -> tuple[Diagnostic, ...]:
    match error:
        case LacError():
            return error.diagnostics
        case click.Abort() | KeyboardInterrupt():
            return (Diagnostic("interrupted", "the command was interrupted", ""),)
        case click.UsageError():
            hint = f"run `{error.ctx.command_path if error.ctx else 'lac'} --help`"
            return (Diagnostic("usage", "invalid command line", error.format_message(), hint),)
        case click.ClickException():
            return (Diagnostic("usage", "the command failed", error.format_message()),)
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            detail = f"{place}{error.strerror or error}."
            summary = "a file or directory can't be used"
            return (Diagnostic("os-error", summary, detail, find_way_out(error) or _DEBUG),)
        case _:
            # an exception may repeat all that it was about
            detail = shorten(f"{type(error).__name__}: {error}".strip(": "), _MOST)
            return (Diagnostic("unexpected", "unexpected error", detail, _DEBUG),)


_MOST = 500
_DEBUG = "set LAC_DEBUG=1 to see the traceback"
