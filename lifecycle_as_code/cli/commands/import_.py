"""`lac import`: take live objects over and write the YAML that declares them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..group import Verb
from ..options import Options
from ..output import note, say, warn
from ..stacks import opened, warn_of_commit

if TYPE_CHECKING:
    from ...model.spec import Address
    from ...stack import Adopted, Stack


@click.command(cls=Verb)
@click.argument("addresses", nargs=-1, metavar="ADDRESS...")
@click.option("--all", "everything", is_flag=True, help="Whatever is there and that nobody owns.")
@click.option("--take-over", is_flag=True, help="Also what another stack owns; its history tells of it.")
@click.option("--out", metavar="FILE", help="Where to write the YAML; `-` prints it. Never overwrites.")
@click.pass_obj
def command(
    options: Options, addresses: tuple[str, ...], everything: bool, take_over: bool, out: str | None
) -> int:
    """Take live objects over: record them as this stack's, and write the YAML that declares them.

    The next plan is empty then. Without --out, a new file is made where `include` in lac.yaml finds it,
    beside the other manifests.
    """
    from ...views.text import counted, safe

    if everything == bool(addresses):
        raise click.UsageError("name ADDRESS... or say --all, one of them")
    if everything and take_over:
        raise click.UsageError("--take-over needs ADDRESS...: nobody takes over everything")
    stack = opened(options)
    asked = None if everything else [stack.parse_address(address) for address in dict.fromkeys(addresses)]
    warn_of_commit(stack, options)
    taken, written = _take(options, stack, asked, out, take_over=take_over)
    warn(taken.skipped, options)
    for address in taken.addresses:
        former = taken.former.get(address)
        note(f"took over {safe(address)}{f' from stack {safe(former)}' if former else ''}")
    if not taken.addresses and taken.skipped:
        note("Nothing was taken over: none of the objects that no stack manages can be declared.")
    elif not taken.addresses:
        note("Nothing was taken over: there is nothing that nobody owns.")
    elif written is not None:
        say(f"Took over {counted(len(taken.addresses), 'object')}; declared in {safe(written)}.")
    elif taken.yaml:
        note("Put this where lac.yaml's `include` finds it; until then, the next plan deletes them.")
    else:
        say(f"Took over {counted(len(taken.addresses), 'object')}, declared already.")
    return 0


def _take(
    options: Options, stack: Stack, asked: list[Address] | None, out: str | None, *, take_over: bool
) -> tuple[Adopted, Path | None]:
    """Take over and write. The file comes first: records without their YAML would plan a deletion."""
    if out == "-":
        taken = stack.adopt(asked, take_over=take_over)
        if taken.yaml:
            say(taken.yaml.rstrip("\n"))
        return taken, None
    written: Path | None = None
    made: list[Path] = []

    def write(text: str) -> None:
        nonlocal written
        paths = [Path(out)] if out else _free_paths(stack, Path(options.directory))
        for path in paths:
            try:
                if not out:
                    _make_folder(path.parent, made)
                with path.open("x", encoding="utf-8") as file:
                    made.append(path)
                    file.write(text)
            except OSError as error:
                raise _cannot_write(path, error) from None
            if path.resolve() in opened(options).files:
                written = path
                return
            _remove(made)
        raise _not_included(paths[0])

    try:
        taken = stack.adopt(asked, write=write, take_over=take_over)
    except BaseException:
        _remove(made)
        raise
    return taken, written


def _free_paths(stack: Stack, directory: Path) -> list[Path]:
    """Files that aren't there yet: beside most of the manifests that are, in the stack's directory, and where
    each pattern of `include` would find one."""
    from ...manifest.files import name_for

    def free(named: Callable[[str], Path | None]) -> Path | None:
        stems = chain(["imported"], (f"imported-{number}" for number in count(2)))
        return next(path for stem in stems if (path := named(stem)) is None or not path.exists())

    def below(folder: Path) -> Callable[[str], Path]:
        return lambda stem: folder / f"{stem}.yaml"

    def fitting(pattern: str) -> Callable[[str], Path | None]:
        return lambda stem: directory / name if (name := name_for(pattern, stem)) else None

    folders = Counter(Path(place.file).parent for place in stack.desired.places.values())
    named = [*(below(folder) for folder, _ in folders.most_common(1)), below(directory)]
    found = [free(each) for each in (*named, *map(fitting, stack.settings.include))]
    return [path for path in dict.fromkeys(found) if path is not None]


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make a directory and those above it; what is made is added to `made`."""
    if not folder.exists():
        _make_folder(folder.parent, made)
        folder.mkdir()
        made.append(folder)


def _remove(made: list[Path]) -> None:
    """Undo what was made, the last first."""
    while made:
        path = made.pop()
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> Exception:
    from ...model.diagnostics import Diagnostic, LacError

    there = isinstance(error, FileExistsError)
    return LacError(
        Diagnostic(
            "cannot-write",
            "the file can't be written",
            f"{path}: {'it is there already' if there else error.strerror or error}.",
            hint="choose another with `--out`; nothing is ever overwritten" if there else "",
        )
    )


def _not_included(path: Path) -> Exception:
    from ...model.diagnostics import Diagnostic, LacError

    return LacError(
        Diagnostic(
            "not-included",
            "the new file doesn't belong to the stack yet",
            f"{path} is not among the files that `include` in lac.yaml names.",
            hint="nothing was taken over; add the file to `include`, or name another with `--out`",
        )
    )
