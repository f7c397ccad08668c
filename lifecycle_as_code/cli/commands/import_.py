"""`lac import`: take live objects over and write the YAML that declares them."""

from __future__ import annotations

from collections import Counter
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

    The next plan is empty then. Without --out, a new file is made beside the manifests that are there.
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
    if not taken.addresses:
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
    path = Path(out) if out else _free_path(stack, Path(options.directory))
    made = False

    def write(text: str) -> None:
        nonlocal made
        try:
            with path.open("x", encoding="utf-8") as file:
                made = True
                file.write(text)
        except OSError as error:
            raise _cannot_write(path, error) from None
        if path.resolve() not in opened(options).files:
            raise _not_included(path)

    try:
        taken = stack.adopt(asked, write=write, take_over=take_over)
    except BaseException:
        if made:
            path.unlink(missing_ok=True)
        raise
    return taken, path if taken.yaml else None


def _free_path(stack: Stack, directory: Path) -> Path:
    """A file that isn't there yet, beside most of the manifests that are."""
    folders = Counter(Path(place.file).parent for place in stack.desired.places.values())
    folder = folders.most_common(1)[0][0] if folders else directory
    stems = chain(["imported"], (f"imported-{number}" for number in count(2)))
    return next(path for stem in stems if not (path := folder / f"{stem}.yaml").exists())


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
