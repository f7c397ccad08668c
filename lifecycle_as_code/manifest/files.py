"""The only part of reading manifests that touches the disk: the list of files, and their bytes.

It opens only regular files (a FIFO would block, a device may never end) inside the stack's directory, even
through symbolic links.
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
from .yaml.report import problem, quote
from .yaml.text import MAX_BYTES

PROJECT = "lac.yaml"
SUFFIXES = (".yaml", ".yml", ".yaml.j2", ".yml.j2")
VARIABLES = (".vars.yaml", ".vars.yml")
"""The suffixes of files for `--var-file`: include patterns with wildcards skip them."""
TESTS = (".policytest.yaml", ".policytest.yml")
"""The suffixes of policy tests: likewise."""
MAX_ENTRIES = 200_000
"""How many directory entries all include patterns together may visit; a second visit counts for a
quarter."""
MAX_NAME = 500
"""The longest step of a pattern, in characters; names have at most 255."""
MAX_LEVELS = 100
"""How deep manifests may be."""
_PATTERN, _VISIT = 100, 10
"""The cost of starting a pattern, and of entering a directory, in entries."""


def read(path: Path, shown_as: str, at: Source | None = None) -> bytes:
    """The bytes of a regular file, at most one more than `MAX_BYTES`. LacError if it can't be read."""
    try:
        return read_regular_file(path, MAX_BYTES)
    except NotRegularError:
        raise LacError(problem("not-a-file", f"{quote(shown_as)} is not a regular file.", at=at)) from None
    except OSError as error:
        detail = f"{quote(shown_as)}: {error.strerror}."
        raise LacError(problem("unreadable-file", detail, at=at)) from None


def list_manifests(root: Path, patterns: Iterable[tuple[str, Source]]) -> tuple[list[str], list[Diagnostic]]:
    """The manifests that match the include patterns, as sorted paths below `root`, and the problems.

    Wildcards skip hidden directories, lac.yaml, other stacks (directories with their own lac.yaml),
    `*.vars.yaml`, `*.policytest.yaml` and files without a manifest's suffix.
    """
    names: set[str] = set()
    problems: list[Diagnostic] = []
    tree = _Tree(root)
    for pattern, at in patterns:
        steps = [step for step in pattern.split("/") if step not in ("", ".")]
        try:
            tree.charge(_PATTERN, at)
            if pattern.startswith(("/", "~")) or ".." in steps:
                detail = f"{quote(pattern)} is outside of the stack's directory."
                raise LacError(problem("include-outside", detail, at=at))
            if any(len(step) > MAX_NAME for step in steps):
                detail = f"{quote(pattern)}: the name is too long."
                raise LacError(problem("unreadable-file", detail, at=at))
            matches = list(_Walk(tree, at).match("", _without_repeats(steps)))
        except LacError as error:
            problems += error.diagnostics
            if any(d.code == "too-large" for d in error.diagnostics):
                break
            continue
        if not matches:
            problems.append(_nothing(pattern, at))
        names.update(matches)
    return sorted(names), problems


def propose_name(pattern: str, stem: str) -> str | None:
    """The path of a new manifest that an include pattern matches, with `stem` for its wildcards; None for a
    pattern without wildcards, of templates, or with other wildcards than `*`."""
    steps = [step for step in pattern.split("/") if step not in ("", ".")] or [pattern]
    last = "*" if steps[-1] == "**" else steps[-1]
    base = last.replace("*", stem, 1).replace("*", "")
    name = next((n for n in (base, f"{base}.yaml") if n.endswith(SUFFIXES[:2]) and _regex(last).match(n)), "")
    path = "/".join([*(step.replace("*", stem) for step in steps[:-1] if step != "**"), name])
    return path if name and stem in path and not _is_wild(path) else None


def suggest_directory(directory: Path) -> str:
    """A hint for a directory without a lac.yaml: the nearest one above it, or how to create one."""
    whole = directory.resolve()
    above = next((each for each in whole.parents if (each / PROJECT).is_file()), None)
    if above is None:
        return "run `lac init`, or give the stack's directory with `-C DIR`"
    option = quote(f"-C {shlex.quote(os.path.relpath(above))}", 500)
    return f"a parent directory has one: use {option}, or run `lac init` to create another"


def list_tests(root: Path) -> list[Path]:
    """The policy tests of a stack, sorted, without hidden directories, other stacks and artifacts."""
    paths: list[Path] = []
    for directory, folders, names in os.walk(root):
        if directory != str(root) and PROJECT in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ARTIFACTS]
        paths += [Path(directory, name) for name in names if name.endswith(TESTS)]
    return sorted(paths)


def _without_repeats(steps: list[str]) -> tuple[str, ...]:
    """`**/**` as `**`, so that everything is matched once."""
    return tuple(
        step for step, above in zip(steps, ["", *steps], strict=False) if (step, above) != ("**", "**")
    )


def _nothing(pattern: str, at: Source) -> Diagnostic:
    if _is_wild(pattern):
        return problem(
            "include-matches-nothing", f"No file matches {quote(pattern)}.", at=at, severity="warning"
        )
    return problem("unreadable-file", f"There is no file {quote(pattern)}.", "fix or remove the entry", at)


def _is_wild(step: str) -> bool:
    return any(mark in step for mark in "*?[")


ARTIFACTS = frozenset({"mlruns", "mlartifacts"})
"""MLflow's default directories of models, each with YAML of its own; wildcards skip them."""


@cache
def _regex(step: str) -> re.Pattern[str]:
    return re.compile(translate(step))


class _Tree:
    """The stack's directories, each listed once, and the budget of entries."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.real = root.resolve()
        self._left = MAX_ENTRIES
        self._listings: dict[str, tuple[list[str], list[str]]] = {}

    def charge(self, entries: int, at: Source) -> None:
        """Take `entries` from the budget. LacError if it is spent."""
        self._left -= entries
        if self._left < 0:
            raise LacError(
                problem(
                    "too-large",
                    f"The include patterns cover more than {MAX_ENTRIES:,} directory entries.",
                    "list the manifests' directories under `include`",
                    at,
                )
            )

    def list_entries(self, below: str, at: Source) -> tuple[list[str], list[str]]:
        """The entries of a directory for wildcards, sorted: all names, and those of directories that aren't
        links."""
        if below not in self._listings:
            self._listings[below] = self._list(below, at)
        names, _ = self._listings[below]
        self.charge(_VISIT + len(names) // 4, at)
        return self._listings[below]

    def _list(self, below: str, at: Source) -> tuple[list[str], list[str]]:
        try:
            with os.scandir(self.root / below) as iterator:
                # one more than the budget is enough
                entries = list(islice(iterator, self._left + 1))
        except OSError as error:
            raise LacError(
                problem("unreadable-file", f"{quote(below or '.')}: {error.strerror}.", at=at)
            ) from None
        self.charge(len(entries), at)
        if below and any(entry.name == PROJECT for entry in entries):
            return [], []
        visible = [
            entry for entry in entries if not entry.name.startswith(".") and entry.name not in ARTIFACTS
        ]
        directories = [entry.name for entry in visible if entry.is_dir(follow_symlinks=False)]
        return sorted(entry.name for entry in visible), sorted(directories)


class _Walk:
    """One pattern's way through the tree."""

    def __init__(self, tree: _Tree, at: Source) -> None:
        self._tree, self._root, self._at = tree, tree.root, at

    def match(self, below: str, steps: tuple[str, ...]) -> Iterator[str]:
        """The manifests below the directory `below` (a relative path) that match the rest of the pattern."""
        if not steps:
            return
        if below.count("/") > MAX_LEVELS:
            detail = f"{quote(below)} is more than {MAX_LEVELS} directories deep."
            raise LacError(problem("too-deep", detail, at=self._at))
        step, rest = steps[0], steps[1:]
        if step == "**":
            yield from self.match(below, rest or ("*",))
            # without links: a loop of them would never end
            for name in self._tree.list_entries(below, self._at)[1]:
                yield from self.match(_join(below, name), steps)
            return
        names = [step]
        if _is_wild(step):
            matches = _regex(step).match
            names = [name for name in self._tree.list_entries(below, self._at)[0] if matches(name)]
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
        """Refuse a link out of the stack's directory, and an entry of another type. The directories above
        `path` are checked already."""
        place = self._root / path
        try:
            mode = os.lstat(place).st_mode
            if stat.S_ISLNK(mode):
                target = place.resolve(strict=True)
                if not target.is_relative_to(self._tree.real):
                    detail = f"{quote(path)} is a link out of the stack's directory."
                    hint = "copy the file, or link inside the directory"
                    raise LacError(problem("include-outside", detail, hint, self._at))
                mode = os.lstat(target).st_mode
        except (OSError, RuntimeError):
            raise LacError(
                problem("unreadable-file", f"{quote(path)} is a broken link.", at=self._at)
            ) from None
        if not fits(mode):
            raise LacError(problem("not-a-file", f"{quote(path)} is not a regular file.", at=self._at))


def _join(below: str, name: str) -> str:
    return f"{below}/{name}" if below else name
