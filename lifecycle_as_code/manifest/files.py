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
        try:
            matches = tree.match(pattern, at)
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
    steps = _steps(pattern) or [pattern]
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
        folders[:] = filter(_is_visible, folders)
        paths += [Path(directory, name) for name in names if name.endswith(TESTS)]
    return sorted(paths)


def _nothing(pattern: str, at: Source) -> Diagnostic:
    if _is_wild(pattern):
        detail = f"No file matches {quote(pattern)}."
        return problem("include-matches-nothing", detail, at=at, severity="warning")
    return problem("unreadable-file", f"There is no file {quote(pattern)}.", "fix or remove the entry", at)


def _is_visible(name: str) -> bool:
    """Whether wildcards match a name. MLflow's directories of models have YAML of their own."""
    return not name.startswith(".") and name not in ("mlruns", "mlartifacts")


def _is_wild(step: str) -> bool:
    return any(mark in step for mark in "*?[")


@cache
def _regex(step: str) -> re.Pattern[str]:
    return re.compile(translate(step))


def _steps(pattern: str) -> list[str]:
    return [step for step in pattern.split("/") if step not in ("", ".")]


class _Tree:
    """The stack's directories, each listed once, and the budget of entries that all patterns share."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._at: Source | None = None
        self._left = MAX_ENTRIES
        self._listings: dict[str, tuple[list[str], list[str]]] = {}

    def match(self, pattern: str, at: Source) -> list[str]:
        """The manifests that match a pattern. LacError if it can't be followed."""
        self._at = at
        self._charge(_PATTERN)
        steps = _steps(pattern)
        if pattern.startswith(("/", "~")) or ".." in steps:
            raise self._error("include-outside", f"{quote(pattern)} is outside of the stack's directory.")
        if any(len(step) > MAX_NAME for step in steps):
            raise self._error("unreadable-file", f"{quote(pattern)}: the name is too long.")
        return list(self._match("", steps))

    def _error(self, code: str, detail: str, hint: str = "") -> LacError:
        return LacError(problem(code, detail, hint, self._at))

    def _charge(self, entries: int) -> None:
        """Take `entries` from the budget. LacError if it is spent."""
        self._left -= entries
        if self._left < 0:
            detail = f"The include patterns cover more than {MAX_ENTRIES:,} directory entries."
            raise self._error("too-large", detail, "list the manifests' directories under `include`")

    def _list(self, below: str) -> tuple[list[str], list[str]]:
        """The sorted names in a directory that wildcards see, and those of directories that aren't links."""
        if below not in self._listings:
            self._listings[below] = self._scan(below)
        self._charge(_VISIT + len(self._listings[below][0]) // 4)
        return self._listings[below]

    def _scan(self, below: str) -> tuple[list[str], list[str]]:
        try:
            with os.scandir(self._root / below) as iterator:
                # one more than the budget is enough
                entries = list(islice(iterator, self._left + 1))
        except OSError as error:
            detail = f"{quote(below or '.')}: {error.strerror}."
            raise self._error("unreadable-file", detail) from None
        self._charge(len(entries))
        if below and any(entry.name == PROJECT for entry in entries):
            return [], []
        visible = [entry for entry in entries if _is_visible(entry.name)]
        directories = [entry.name for entry in visible if entry.is_dir(follow_symlinks=False)]
        return sorted(entry.name for entry in visible), sorted(directories)

    def _match(self, below: str, steps: list[str]) -> Iterator[str]:
        """The manifests below the directory `below` (a relative path) that match the rest of the pattern."""
        if not steps:
            return
        if below.count("/") > MAX_LEVELS:
            raise self._error("too-deep", f"{quote(below)} is more than {MAX_LEVELS} directories deep.")
        while steps[:2] == ["**", "**"]:
            steps = steps[1:]
        step, rest = steps[0], steps[1:]
        if step == "**":
            yield from self._match(below, rest or ["*"])
            # without links: a loop of them would never end
            for name in self._list(below)[1]:
                yield from self._match(_join(below, name), steps)
            return
        if _is_wild(step):
            names = [name for name in self._list(below)[0] if _regex(step).match(name)]
        else:
            names = [step]
            self._charge(_VISIT)
        for path in (_join(below, name) for name in names):
            is_directory = os.path.isdir(self._root / path)
            if rest and is_directory:
                self._check(path, stat.S_ISDIR)
                yield from self._match(path, rest)
            elif not rest and path != PROJECT and self._is_manifest(path, is_directory, _is_wild(step)):
                self._check(path, stat.S_ISREG)
                yield path

    def _is_manifest(self, path: str, is_directory: bool, wild: bool) -> bool:
        if not wild:
            return os.path.lexists(self._root / path)
        return path.endswith(SUFFIXES) and not path.endswith((*VARIABLES, *TESTS)) and not is_directory

    def _check(self, path: str, fits: Callable[[int], bool]) -> None:
        """Refuse a link out of the stack's directory, and an entry of another type."""
        place = self._root / path
        try:
            mode = os.lstat(place).st_mode
            if stat.S_ISLNK(mode):
                target = place.resolve(strict=True)
                if not target.is_relative_to(self._root.resolve()):
                    detail = f"{quote(path)} is a link out of the stack's directory."
                    raise self._error(
                        "include-outside", detail, "copy the file, or link inside the directory"
                    )
                mode = os.lstat(target).st_mode
        except (OSError, RuntimeError):
            raise self._error("unreadable-file", f"{quote(path)} is a broken link.") from None
        if not fits(mode):
            raise self._error("not-a-file", f"{quote(path)} is not a regular file.")


def _join(below: str, name: str) -> str:
    return f"{below}/{name}" if below else name
