"""`lac fmt`: format manifests."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from ...model.diagnostics import Diagnostic, LacError, Source, refuse
from ...views.text import safe
from ..files import replace
from ..group import Verb
from ..options import Options
from ..output import note, paint, say, warn, write_bytes

STDIN: Final = "-"
_TEMPLATE: Final = ".j2"


@click.command(cls=Verb)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Show the changes as a diff.")
@click.pass_obj
def command(options: Options, paths: tuple[str, ...], check: bool, diff: bool) -> int:
    """Format manifests in the standard layout, and list the files that changed.

    PATH is a file, a directory (with all YAML files below it that a stack would read), or `-` to read stdin
    and write stdout; by default the stack's directory. Content and comments stay the same. Templates (*.j2)
    are skipped."""
    if STDIN in paths:
        if len(paths) > 1:
            raise click.UsageError(f"`{STDIN}` can't be combined with another PATH")
        return _format_stdin(options, check=check, diff=diff)
    problems: list[Diagnostic] = []
    changes = False
    for path in _files(paths or (options.directory,)):
        try:
            changes |= _format_file(path, options, check=check, diff=diff)
        except LacError as error:
            problems += error.diagnostics
    refuse(problems)
    return 1 if check and changes else 0


def _files(paths: Sequence[str]) -> Iterator[Path]:
    """Every file once, in order. LacError for a path that isn't a manifest or a directory."""
    from ...manifest.files import PROJECT, SUFFIXES, list_manifests
    from ...manifest.project import INCLUDE
    from ...manifest.yaml.report import problem, quote

    known: set[Path] = set()
    for text in paths:
        path = Path(text)
        if path.is_dir():
            names, problems = list_manifests(path, [(pattern, Source(text, 1, 1)) for pattern in INCLUDE])
            if errors := [p for p in problems if p.severity == "error"]:
                raise LacError(*errors)
            files = [path / name for name in ([PROJECT] if (path / PROJECT).is_file() else []) + names]
        elif path.name.endswith(SUFFIXES):
            files = [path]
        else:
            raise LacError(
                problem("not-a-manifest", f"{quote(text)}.", "a manifest ends in `.yaml` or `.yml`")
            )
        for file in files:
            if (real := file.resolve()) not in known:
                known.add(real)
                yield file


def _format_file(path: Path, options: Options, *, check: bool, diff: bool) -> bool:
    """Format a file. Whether it changes. LacError where it can't be read."""
    from ...manifest.files import read
    from ...views.terminal import edits

    name = str(path)
    if name.endswith(_TEMPLATE):
        note(f"Skipped: {safe(name)} is a template.")
        return False
    data = read(path, name)
    text = _format_text(data, name, options)
    if text.encode() == data:
        return False
    say(safe(name))
    if diff:
        say(edits.difference(name, data.decode(), text, paint(options)))
    if not check:
        replace(path, data, text.encode())
    return True


def _format_stdin(options: Options, *, check: bool, diff: bool) -> int:
    from ...manifest.yaml.text import MAX_BYTES
    from ...views.terminal import edits

    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    text = _format_text(data, STDIN, options)
    if diff:
        if difference := edits.difference(STDIN, data.decode(), text, paint(options)):
            say(difference)
    elif not check:
        write_bytes(text.encode())
    return 1 if check and text.encode() != data else 0


def _format_text(data: bytes, name: str, options: Options) -> str:
    """A file's text in the standard layout; unchanged, with a warning, where formatting isn't safe. LacError
    where a manifest can't be this YAML."""
    from ...manifest.format import CannotFormatError, format_text
    from ...manifest.yaml.reader import parse
    from ...manifest.yaml.report import Report, problem

    report = Report(name)
    parse(data, report)
    refuse(report.problems)
    text = data.decode()
    try:
        return format_text(text)
    except CannotFormatError as error:
        detail = f"{str(error)[:1].upper()}{str(error)[1:]}."
        warn([problem("not-formatted", detail, at=Source(name, 1, 1), severity="warning")], options)
        return text
