"""The only part of reading manifests that touches the disk: which files there are, and their bytes.

Nothing outside the stack's directory is opened, through a symbolic link neither, and nothing that isn't a
regular file: a FIFO would block, a device may never end.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from fnmatch import translate
from functools import cache
from pathlib import Path

from ..diagnostics import Diagnostic, LacError, Source
from .report import problem, shown
from .text import MAX_BYTES

PROJECT = "lac.yaml"
SUFFIXES = (".yaml", ".yml", ".yaml.j2", ".yml.j2")
VARIABLES = (".vars.yaml", ".vars.yml")
"""How files for `--var-file` should end: include patterns with wildcards pass them over."""
MAX_ENTRIES = 200_000
"""How many directory entries one include pattern may look at."""


def read(path: Path, shown_as: str, at: Source | None = None) -> bytes:
    """The bytes of a regular file, at most one more than `MAX_BYTES`. LacError where there are none."""
    try:
        # without O_NONBLOCK, opening a FIFO waits for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise LacError(problem("not-a-file", f"{shown(shown_as)} is not a regular file.", at=at))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        detail = f"{shown(shown_as)}: {error.strerror}."
        raise LacError(problem("unreadable-file", detail, at=at)) from None


def matching(root: Path, patterns: Iterable[tuple[str, Source]]) -> tuple[list[str], list[Diagnostic]]:
    """The manifests that the include patterns name, as sorted paths below `root`, and what is odd about them.

    Directories whose name begins with a dot, lac.yaml, other stacks (directories with a lac.yaml of their
    own), `*.vars.yaml` and files with another suffix than a manifest's are passed over by wildcards.
    """
    found: set[str] = set()
    problems: list[Diagnostic] = []
    real = root.resolve()
    for pattern, at in patterns:
        steps = [step for step in pattern.split("/") if step not in ("", ".")]
        if pattern.startswith(("/", "~")) or ".." in steps or "\0" in pattern:
            problems.append(
                problem("include-outside", f"{shown(pattern)} leads out of the stack's directory.", at=at)
            )
            continue
        try:
            matched = list(_Walk(root, real, at).match("", tuple(steps)))
        except LacError as error:
            problems += error.diagnostics
            continue
        if not matched:
            problems.append(_nothing(pattern, at))
        found.update(matched)
    return sorted(found), problems


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


class _Walk:
    """One pattern's way through the tree."""

    def __init__(self, root: Path, real: Path, at: Source) -> None:
        self._root, self._real, self._at = root, real, at
        self._left = MAX_ENTRIES

    def match(self, below: str, steps: tuple[str, ...]) -> Iterator[str]:
        """Manifests below the directory `below` (a relative path) that the rest of the pattern names."""
        if not steps:
            return
        step, rest = steps[0], steps[1:]
        if step == "**":
            yield from self.match(below, rest or ("*",))
            for name in self._names(below):
                path = _join(below, name)
                # links aren't followed here: a loop of them would never end
                if self._is_directory(path) and not (self._root / path).is_symlink():
                    yield from self.match(path, steps)
            return
        names = (
            [name for name in self._names(below) if _regex(step).match(name)] if _is_wild(step) else [step]
        )
        for name in names:
            path = _join(below, name)
            if rest:
                if self._is_directory(path):
                    self._check(path)
                    yield from self.match(path, rest)
            elif self._is_manifest(path, wild=_is_wild(step)):
                self._check(path)
                yield path

    def _names(self, below: str) -> list[str]:
        """What wildcards may see in a directory, sorted."""
        try:
            names = sorted(os.listdir(self._root / below))
        except OSError as error:
            raise LacError(
                problem("unreadable-file", f"{shown(below or '.')}: {error.strerror}.", at=self._at)
            ) from None
        self._left -= len(names)
        if self._left < 0:
            raise LacError(
                problem(
                    "too-large",
                    f"More than {MAX_ENTRIES:,} directory entries to look at.",
                    "name the manifests' directories in `include`",
                    self._at,
                )
            )
        if below and PROJECT in names:
            return []
        return [name for name in names if not name.startswith(".") and name not in ARTIFACTS]

    def _is_directory(self, path: str) -> bool:
        return (self._root / path).is_dir()

    def _is_manifest(self, path: str, *, wild: bool) -> bool:
        if path == PROJECT:
            return False
        if wild:
            fits = path.endswith(SUFFIXES) and not path.endswith(VARIABLES)
            return fits and not self._is_directory(path)
        return os.path.lexists(self._root / path)

    def _check(self, path: str) -> None:
        """Refuse what a symbolic link leads to outside of the stack's directory, and what isn't a file."""
        place = self._root / path
        try:
            target = place.resolve(strict=True)
        except (OSError, RuntimeError):
            raise LacError(
                problem("unreadable-file", f"{shown(path)} is a link to nothing.", at=self._at)
            ) from None
        if not target.is_relative_to(self._real):
            detail = f"{shown(path)} is a link out of the stack's directory."
            raise LacError(problem("include-outside", detail, "copy the file, or link within", self._at))
        if not (target.is_file() or target.is_dir()):
            raise LacError(problem("not-a-file", f"{shown(path)} is not a regular file.", at=self._at))


def _join(below: str, name: str) -> str:
    return f"{below}/{name}" if below else name
