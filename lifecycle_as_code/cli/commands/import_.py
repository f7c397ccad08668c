"""`lac import`: record live objects as this stack's and write their YAML."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...views.text import pluralize, safe
from ..group import Verb
from ..options import Options
from ..output import failure, note, say, warn
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
    `include` in lac.yaml includes it. Existing files are never overwritten."""
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
    undo = ExitStack()

    def write(text: str) -> None:
        nonlocal file
        paths = [Path(out)] if out else _free_paths(stack, Path(options.directory))
        for path in paths:
            try:
                if not out:
                    _make_folder(path.parent, undo)
                with path.open("x", encoding="utf-8") as stream:
                    undo.callback(path.unlink, missing_ok=True)
                    stream.write(text)
            except OSError as error:
                raise _cannot_write(path, error) from None
            if path.resolve() in open_stack(options).files:
                file = path
                return
            undo.close()
        raise failure(
            "not-included",
            "the stack doesn't include the new file",
            f"No pattern of `include` in lac.yaml matches {paths[0]}. Nothing was imported.",
            "add the file to `include`, or pass another file with `--out`",
        )

    with undo:
        adoption = stack.import_objects(targets, write=write, take_over=take_over)
        undo.pop_all()
    return adoption, file


def _free_paths(stack: Stack, directory: Path) -> list[Path]:
    """Files that don't exist yet: beside most of the manifests, in the stack's directory, and one for each
    pattern of `include`."""
    from ...manifest.files import propose_name

    folders = Counter(Path(place.file).parent for place in stack.desired.places.values())
    places = [(folder, "*.yaml") for folder, _ in folders.most_common(1)]
    places += [(directory, pattern) for pattern in ("*.yaml", *stack.settings.include)]
    paths: list[Path] = []
    for folder, pattern in places:
        stems = chain(["imported"], (f"imported-{number}" for number in count(2)))
        names = (propose_name(pattern, stem) for stem in stems)
        name = next(name for name in names if name is None or not (folder / name).exists())
        paths += [folder / name] if name else []
    return list(dict.fromkeys(paths))


def _make_folder(folder: Path, undo: ExitStack) -> None:
    """Make a directory and its missing parents, which `undo` removes."""
    if not folder.exists():
        _make_folder(folder.parent, undo)
        folder.mkdir()
        undo.callback(folder.rmdir)


def _cannot_write(path: Path, error: OSError) -> Exception:
    exists = isinstance(error, FileExistsError)
    reason = "the file exists already" if exists else error.strerror or error
    hint = "pass another file with `--out`; existing files are never overwritten" if exists else ""
    return failure("cannot-write", "cannot write the file", f"{path}: {reason}.", hint)
