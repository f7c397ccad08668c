"""Exceptions become text and an exit code here, and nowhere else."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from ..model.diagnostics import Diagnostic, LacError, Severity
from .display import show_problems
from .options import Options
from .output import note, warn


def told(error: BaseException, args: Sequence[str], options: Options) -> int:
    """Tell what went wrong, on stderr and, in the view that was asked for, on stdout. Returns the code."""
    # a usage error comes before the options were read
    options.no_color = options.no_color or "--no-color" in args
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        note(error.ctx.get_help() if error.ctx else error.format_message())
        return 1
    if os.environ.get("LAC_DEBUG") == "1":
        traceback.print_exception(error)
    found = _diagnostics(error)
    warn(found, options)
    sys.stderr.flush()
    show_problems(found, args)
    return 1


def tell_of_loss(error: OSError, options: Options) -> int:
    """Tell that stdout is incomplete. Returns the code: 1, but 0 where changes are what was asked for."""
    severity: Severity = "warning" if options.applied else "error"
    detail = f"stdout: {error.strerror}. The command itself has ended well."
    hint = "`lac history` says what was applied" if options.applied else "make room, and run it again"
    warn(
        [Diagnostic("output-lost", "the output could not be written", detail, hint, severity=severity)],
        options,
    )
    return 0 if options.applied else 1


def _diagnostics(error: BaseException) -> tuple[Diagnostic, ...]:
    match error:
        case LacError():
            return error.diagnostics
        case click.Abort() | KeyboardInterrupt():
            return (Diagnostic("interrupted", "the command was interrupted", ""),)
        case click.UsageError():
            help_ = f"see `{error.ctx.command_path if error.ctx else 'lac'} --help`"
            return (Diagnostic("usage", "the command can't be understood", error.format_message(), help_),)
        case click.ClickException():
            return (Diagnostic("usage", "the command can't be carried out", error.format_message()),)
        case OSError():
            return (Diagnostic("os-error", "the system refused", str(error), _DEBUG),)
        case _:
            what = f"{type(error).__name__}: {error}".strip(": ")
            return (Diagnostic("unexpected", "something went wrong that shouldn't", what, _DEBUG),)


_DEBUG = "LAC_DEBUG=1 shows where it happened"
