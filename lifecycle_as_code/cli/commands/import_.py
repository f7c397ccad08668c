"""`lac import`: record live objects as this stack's and write their YAML."""

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
from ..stacks import open_stack, warn_of_commit

if TYPE_CHECKING:
    from ...model.spec import Address
    from ...stack import Import, Stack


@click.command(cls=Verb)
@click.argument("addresses", nargs=-1, metavar="ADDRESS...")
@click.option("--all", "everything", is_flag=True, help="Import every object that no stack manages.")
@click.option(
    "--take-over", is_flag=True, help="Import objects of other stacks, too; their history records it."
)
@click.option("--out", metavar="FILE", help="Write the YAML to a new FILE; `-` prints it.")
@click.pass_obj
def command(
    options: Options, addresses: tuple[str, ...], everything: bool, take_over: bool, out: str | None
) -> int:
    """Import live objects: record them as this stack's, and write the YAML that declares them.

    The next plan is then empty. Without --out, the YAML goes to a new file beside the other manifests, where
    `include` in lac.yaml includes it. Existing files are never overwritten.
    """
    from ...views.text import pluralize, safe

    if everything == bool(addresses):
        raise click.UsageError("pass either ADDRESS... or --all")
    if everything and take_over:
        raise click.UsageError("--take-over requires ADDRESS...; it can't be combined with --all")
    stack = open_stack(options)
    targets = None if everything else [stack.parse_address(address) for address in dict.fromkeys(addresses)]
    warn_of_commit(stack, options)
    adoption, file = _adopt(options, stack, targets, out, take_over=take_over)
    warn(adoption.skipped, options)
    for address in adoption.addresses:
        former = adoption.former.get(address)
        note(f"imported {safe(address)}{f' from stack {safe(former)}' if former else ''}")
    objects = pluralize(len(adoption.addresses), "object")
    if not adoption.addresses and adoption.skipped:
        note("Nothing was imported: none of the objects that no stack manages can be declared.")
    elif not adoption.addresses:
        note("Nothing was imported: every object is managed by a stack.")
    elif file is not None:
        say(f"Imported {objects}; declared in {safe(file)}.")
    elif adoption.yaml:
        note("Save this YAML in a file that lac.yaml includes; otherwise the next plan deletes the objects.")
    else:
        say(f"Imported {objects}; already declared in the manifests.")
    return 0


def _adopt(
    options: Options, stack: Stack, targets: list[Address] | None, out: str | None, *, take_over: bool
) -> tuple[Import, Path | None]:
    """Import, and write the file. The file comes first: records without their YAML would plan a deletion."""
    if out == "-":
        adoption = stack.import_objects(targets, take_over=take_over)
        if adoption.yaml:
            say(adoption.yaml.rstrip("\n"))
        return adoption, None
    file: Path | None = None
    new_paths: list[Path] = []

    def write(text: str) -> None:
        nonlocal file
        paths = [Path(out)] if out else _free_paths(stack, Path(options.directory))
        for path in paths:
            try:
                if not out:
                    _make_folder(path.parent, new_paths)
                with path.open("x", encoding="utf-8") as stream:
                    new_paths.append(path)
                    stream.write(text)
            except OSError as error:
                raise _cannot_write(path, error) from None
            if path.resolve() in open_stack(options).files:
                file = path
                return
            _remove(new_paths)
        raise _include_error(paths[0])

    try:
        adoption = stack.import_objects(targets, write=write, take_over=take_over)
    except BaseException:
        _remove(new_paths)
        raise
    return adoption, file


def _free_paths(stack: Stack, directory: Path) -> list[Path]:
    """Files that don't exist yet: beside most of the manifests, in the stack's directory, and one for each
    pattern of `include`."""
    from ...manifest.files import propose_name

    def free(make_path: Callable[[str], Path | None]) -> Path | None:
        stems = chain(["imported"], (f"imported-{number}" for number in count(2)))
        return next(path for stem in stems if (path := make_path(stem)) is None or not path.exists())

    def below(folder: Path) -> Callable[[str], Path]:
        return lambda stem: folder / f"{stem}.yaml"

    def match(pattern: str) -> Callable[[str], Path | None]:
        return lambda stem: directory / name if (name := propose_name(pattern, stem)) else None

    folders = Counter(Path(place.file).parent for place in stack.desired.places.values())
    places = [*(below(folder) for folder, _ in folders.most_common(1)), below(directory)]
    paths = [free(place) for place in (*places, *map(match, stack.settings.include))]
    return [path for path in dict.fromkeys(paths) if path is not None]


def _make_folder(folder: Path, new_paths: list[Path]) -> None:
    """Make a directory and its missing parents, and add them to `new_paths`."""
    if not folder.exists():
        _make_folder(folder.parent, new_paths)
        folder.mkdir()
        new_paths.append(folder)


def _remove(new_paths: list[Path]) -> None:
    """Remove the paths, the last one first."""
    while new_paths:
        path = new_paths.pop()
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> Exception:
    from ...model.diagnostics import Diagnostic, LacError

    exists = isinstance(error, FileExistsError)
    return LacError(
        Diagnostic(
            "cannot-write",
            "cannot write the file",
            f"{path}: {'the file exists already' if exists else error.strerror or error}.",
            hint="pass another file with `--out`; existing files are never overwritten" if exists else "",
        )
    )


def _include_error(path: Path) -> Exception:
    from ...model.diagnostics import Diagnostic, LacError

    return LacError(
        Diagnostic(
            "not-included",
            "the stack doesn't include the new file",
            f"No pattern of `include` in lac.yaml matches {path}. Nothing was imported.",
            hint="add the file to `include`, or pass another file with `--out`",
        )
    )
