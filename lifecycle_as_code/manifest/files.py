"""The only part of reading manifests that touches the disk: which files there are, and their bytes.

Nothing outside the stack's directory is opened, through a symbolic link neither, and nothing that isn't a
regular file: a FIFO would block, a device may never end.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from functools import cache
from itertools import islice
from pathlib import Path

from ..model.diagnostics import Diagnostic, LacError, Source
from .regular_file import NotRegularError, read_regular_file
from .yaml.report import problem, shown
from .yaml.text import MAX_BYTES

PROJECT = "lac.yaml"
SUFFIXES = (".yaml", ".yml", ".yaml.j2", ".yml.j2")
VARIABLES = (".vars.yaml", ".vars.yml")
"""How files for `--var-file` should end: include patterns with wildcards pass them over."""
TESTS = (".policytest.yaml", ".policytest.yml")
"""How tests of policies end: likewise."""
MAX_ENTRIES = 200_000
"""How many directory entries all include patterns together may look at; one that was seen before counts for
a quarter."""
MAX_NAME = 500
"""The longest step of a pattern, in characters; names have at most 255."""
MAX_LEVELS = 100
"""How deep manifests may be."""
_PATTERN, _VISIT = 100, 10
"""How many entries it is like to begin with a pattern, and to come to a directory at all."""


def read(path: Path, shown_as: str, at: Source | None = None) -> bytes:
    """The bytes of a regular file, at most one more than `MAX_BYTES`. LacError where there are none."""
    try:
        return read_regular_file(path, MAX_BYTES)
    except NotRegularError:
        raise LacError(problem("not-a-file", f"{shown(shown_as)} is not a regular file.", at=at)) from None
    except OSError as error:
        detail = f"{shown(shown_as)}: {error.strerror}."
        raise LacError(problem("unreadable-file", detail, at=at)) from None


def matching(root: Path, patterns: Iterable[tuple[str, Source]]) -> tuple[list[str], list[Diagnostic]]:
    """The manifests that the include patterns name, as sorted paths below `root`, and what is odd about them.

    Directories whose name begins with a dot, lac.yaml, other stacks (directories with a lac.yaml of their
    own), `*.vars.yaml`, `*.policytest.yaml` and files with another suffix than a manifest's are passed over
    by wildcards.
    """
    found: set[str] = set()
    problems: list[Diagnostic] = []
    tree = _Tree(root)
    for pattern, at in patterns:
        steps = [step for step in pattern.split("/") if step not in ("", ".")]
        try:
            tree.charge(_PATTERN, at)
            if pattern.startswith(("/", "~")) or ".." in steps:
                detail = f"{shown(pattern)} leads out of the stack's directory."
                raise LacError(problem("include-outside", detail, at=at))
            if any(len(step) > MAX_NAME for step in steps):
                detail = f"{shown(pattern)}: no file has so long a name."
                raise LacError(problem("unreadable-file", detail, at=at))
            matched = list(_Walk(tree, at).match("", _without_repeats(steps)))
        except LacError as error:
            problems += error.diagnostics
            if any(found.code == "too-large" for found in error.diagnostics):
                break
            continue
        if not matched:
            problems.append(_nothing(pattern, at))
        found.update(matched)
    return sorted(found), problems


def name_for(pattern: str, stem: str) -> str | None:
    """The path of a new manifest that an include pattern finds, with `stem` for its wildcards; None for a
    pattern of one file, of templates, or with other wildcards than `*`."""
    steps = [step for step in pattern.split("/") if step not in ("", ".")] or [pattern]
    last = "*" if steps[-1] == "**" else steps[-1]
    base = last.replace("*", stem, 1).replace("*", "")
    name = next((n for n in (base, f"{base}.yaml") if n.endswith(SUFFIXES[:2]) and _regex(last).match(n)), "")
    path = "/".join([*(step.replace("*", stem) for step in steps[:-1] if step != "**"), name])
    return path if name and stem in path and not _is_wild(path) else None


def way_to_a_stack(directory: Path) -> str:
    """A hint for a directory without a lac.yaml: the nearest one above it, or how to begin one."""
    whole = directory.resolve()
    above = next((each for each in whole.parents if (each / PROJECT).is_file()), None)
    if above is None:
        return "begin with `lac init`, or say where with `-C DIR`"
    way = shlex.quote(os.path.relpath(above))
    return f"there is one above: add {shown(f'-C {way}', 500)}, or begin another with `lac init`"


def tests_below(root: Path) -> list[Path]:
    """The tests of policies in a stack's directory, sorted: not in hidden directories, other stacks' and
    those of artifacts."""
    found: list[Path] = []
    for directory, folders, names in os.walk(root):
        if directory != str(root) and PROJECT in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ARTIFACTS]
        found += [Path(directory, name) for name in names if name.endswith(TESTS)]
    return sorted(found)


def _without_repeats(steps: list[str]) -> tuple[str, ...]:
    """`**/**` is `**`, and finds everything once."""
    return tuple(
        step for step, above in zip(steps, ["", *steps], strict=False) if (step, above) != ("**", "**")
    )


def _nothing(pattern: str, at: Source) -> Diagnostic:
    if _is_wild(pattern):
        return problem(
            "include-matches-nothing", f"No file matches {shown(pattern)}.", at=at, severity="warning"
        )
    return problem("unreadable-file", f"There is no file {shown(pattern)}.", "mend or remove the entry", at)


def _is_wild(step: str) -> bool:
    return any(mark in step for mark in "*?[")


ARTIFACTS = frozenset({"mlruns", "mlartifacts"})
"""Where MLflow keeps models by default, each with YAML of its own; wildcards don't look inside."""


@cache
def _regex(step: str) -> re.Pattern[str]:
    return re.compile(translate(step))


class _Tree:
    """The stack's directories, each listed once, and how much may still be looked at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.real = root.resolve()
        self._left = MAX_ENTRIES
        self._listed: dict[str, tuple[list[str], list[str]]] = {}

    def charge(self, entries: int, at: Source) -> None:
        """Take `entries` from what may be looked at. LacError when nothing is left."""
        self._left -= entries
        if self._left < 0:
            raise LacError(
                problem(
                    "too-large",
                    f"More than {MAX_ENTRIES:,} directory entries to look at.",
                    "name the manifests' directories in `include`",
                    at,
                )
            )

    def listed(self, below: str, at: Source) -> tuple[list[str], list[str]]:
        """What wildcards may see in a directory, sorted: all names, and those of directories that aren't
        links."""
        if below not in self._listed:
            self._listed[below] = self._list(below, at)
        names, _ = self._listed[below]
        self.charge(_VISIT + len(names) // 4, at)
        return self._listed[below]

    def _list(self, below: str, at: Source) -> tuple[list[str], list[str]]:
        try:
            with os.scandir(self.root / below) as found:
                # one more than may be looked at is enough to know
                entries = list(islice(found, self._left + 1))
        except OSError as error:
            raise LacError(
                problem("unreadable-file", f"{shown(below or '.')}: {error.strerror}.", at=at)
            ) from None
        self.charge(len(entries), at)
        if below and any(entry.name == PROJECT for entry in entries):
            return [], []
        seen = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in ARTIFACTS]
        directories = [entry.name for entry in seen if entry.is_dir(follow_symlinks=False)]
        return sorted(entry.name for entry in seen), sorted(directories)


class _Walk:
    """One pattern's way through the tree."""

    def __init__(self, tree: _Tree, at: Source) -> None:
        self._tree, self._root, self._at = tree, tree.root, at

    def match(self, below: str, steps: tuple[str, ...]) -> Iterator[str]:
        """Manifests below the directory `below` (a relative path) that the rest of the pattern names."""
        if not steps:
            return
        if below.count("/") > MAX_LEVELS:
            detail = f"{shown(below)} is more than {MAX_LEVELS} directories deep."
            raise LacError(problem("too-deep", detail, at=self._at))
        step, rest = steps[0], steps[1:]
        if step == "**":
            yield from self.match(below, rest or ("*",))
            # links aren't followed here: a loop of them would never end
            for name in self._tree.listed(below, self._at)[1]:
                yield from self.match(_join(below, name), steps)
            return
        names = [step]
        if _is_wild(step):
            matches = _regex(step).match
            names = [name for name in self._tree.listed(below, self._at)[0] if matches(name)]
        else:
            self._tree.charge(_VISIT, self._at)
        for name in names:
            path = _join(below, name)
            if rest:
                if self._is_directory(path):
                    self._check(path, stat.S_ISDIR)
                    yield from self.match(path, rest)
            elif self._is_manifest(path, wild=_is_wild(step)):
                self._check(path, stat.S_ISREG)
                yield path

    def _is_directory(self, path: str) -> bool:
        return os.path.isdir(self._root / path)

    def _is_manifest(self, path: str, *, wild: bool) -> bool:
        if path == PROJECT:
            return False
        if wild:
            fits = path.endswith(SUFFIXES) and not path.endswith((*VARIABLES, *TESTS))
            return fits and not self._is_directory(path)
        return os.path.lexists(self._root / path)

    def _check(self, path: str, fits: Callable[[int], bool]) -> None:
        """Refuse what a link leads to outside of the stack's directory, and what isn't what it should be.

        What is above `path` was checked on the way to it.
        """
        place = self._root / path
        try:
            mode = os.lstat(place).st_mode
            if stat.S_ISLNK(mode):
                target = place.resolve(strict=True)
                if not target.is_relative_to(self._tree.real):
                    detail = f"{shown(path)} is a link out of the stack's directory."
                    hint = "copy the file, or link within"
                    raise LacError(problem("include-outside", detail, hint, self._at))
                mode = os.lstat(target).st_mode
        except (OSError, RuntimeError):
            raise LacError(
                problem("unreadable-file", f"{shown(path)} is a link to nothing.", at=self._at)
            ) from None
        if not fits(mode):
            raise LacError(problem("not-a-file", f"{shown(path)} is not a regular file.", at=self._at))


def _join(below: str, name: str) -> str:
    return f"{below}/{name}" if below else name
