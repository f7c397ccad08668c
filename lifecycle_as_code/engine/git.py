"""One changed file committed to a branch of its own, by git. Nothing else in the work tree or the index is
touched, and nothing is pushed.

Hooks run as they do for anybody's commit.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..model.diagnostics import Diagnostic, LacError
from . import git_process

_LONGEST: Final = 100


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch that can be made: `file` is committed and unchanged, and nothing has the branch's name.

    `head`: the commit that it begins at. `origin`: the branch that is checked out, or empty for none.
    """

    name: str
    file: Path
    root: Path
    head: str
    origin: str
    environ: Mapping[str, str]

    def commit(self, write: Callable[[], object], message: str) -> str:
        """Check the branch out, let `write` change the file, and commit that. The commit's id.

        LacError where git refuses; whatever goes wrong, the file and what is checked out are as before.
        """
        before = self.file.read_bytes()
        try:
            # at the same commit: no file changes, and what isn't committed comes along
            self._git("switch", "--quiet", "--no-track", "--create", self.name)
            write()
            how = ("--quiet", "--only", "--cleanup=whitespace", "--file=-")
            self._git("commit", *how, "--", self._path, stdin=message)
        except BaseException:
            # a hook may say no when git has made the branch
            if _has(self.root, self.environ, self.name):
                self._undo(before)
            raise
        return self._git("rev-parse", "HEAD").strip()

    @property
    def _path(self) -> str:
        return f":(top,literal){self.file.relative_to(self.root)}"

    def _undo(self, before: bytes) -> None:
        with ExitStack() as undoing:
            # the last one first, each of them whatever became of the others
            undoing.callback(self._git, "branch", "--quiet", "--delete", "--force", "--", self.name)
            # once it was committed, the index has it
            undoing.callback(self._git, "reset", "--quiet", "--", self._path)
            if self.origin:
                undoing.callback(self._git, "symbolic-ref", "HEAD", f"refs/heads/{self.origin}")
            else:
                undoing.callback(self._git, "update-ref", "--no-deref", "HEAD", self.head)
            if not self.file.is_file() or self.file.read_bytes() != before:
                self.file.write_bytes(before)

    def _git(self, *args: str, stdin: str | None = None) -> str:
        return _git(self.root, self.environ, *args, stdin=stdin)


def named(*words: object) -> str:
    """A name that git admits for a branch, from these words."""
    name = re.sub(r"[^\w.-]+", "-", "-".join(map(str, words)))
    name = re.sub(r"\.{2,}", ".", name).strip("-.")[:_LONGEST]
    return name.removesuffix(".lock").rstrip("-.")


def prepared(file: Path, name: str, environ: Mapping[str, str]) -> Branch:
    """The branch, not made yet. LacError where it can't be: no repository, no commit, a name that is taken or
    can't be one, or a file that isn't committed as it is."""
    file = file.resolve()
    root = Path(_look(file.parent, environ, "no-repository", "rev-parse", "--show-toplevel").rstrip("\n"))
    root = root.resolve()
    head = _look(root, environ, "no-commit", "rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
    # `@{-1}` is the branch that was checked out before
    name = _look(root, environ, "bad-branch", "check-ref-format", "--branch", name, about=name).rstrip("\n")
    branch = Branch(name, file, root, head, _origin(root, environ), environ)
    if _has(root, environ, name):
        raise _refused("branch-exists", f"There is a branch {name} already.")
    _look(root, environ, "not-committed", "ls-files", "--error-unmatch", "--", branch._path, about=str(file))
    if _git(root, environ, "status", "--porcelain", "-z", "--", branch._path):
        raise _refused("not-committed", f"{file} differs from what was committed last.")
    return branch


def _has(root: Path, environ: Mapping[str, str], branch: str) -> bool:
    return _answers(root, environ, "show-ref", "--verify", "--quiet", f"refs/heads/{branch}")


def _origin(root: Path, environ: Mapping[str, str]) -> str:
    if not _answers(root, environ, "symbolic-ref", "--quiet", "HEAD"):
        return ""
    return _git(root, environ, "symbolic-ref", "HEAD").strip().removeprefix("refs/heads/")


_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "no-repository": ("there is no git repository", "make one with `git init`, or leave `--branch` away"),
    "no-commit": ("the repository has no commit yet", "commit the manifests first"),
    "bad-branch": ("that can't be a branch's name", "name another with `--branch NAME`"),
    "branch-exists": ("the branch exists already", "name another with `--branch NAME`, or delete that one"),
    "not-committed": (
        "the file has changes that aren't committed",
        "commit or stash them first, or leave `--branch` away",
    ),
    "git-refused": (
        "git refused",
        "nothing was changed; without `--branch` the file is edited and not committed",
    ),
}


def _refused(code: str, detail: str) -> LacError:
    summary, hint = _REFUSALS[code]
    return LacError(Diagnostic(code, summary, detail, hint=hint))


def _look(root: Path, environ: Mapping[str, str], code: str, *args: str, about: str = "") -> str:
    """What git answers. LacError with this code where it fails."""
    done = _run(root, environ, args, None, git_process.LOOK_SECONDS)
    if done.returncode:
        raise _refused(code, about or done.stderr or f"{root}.")
    return done.stdout


def _answers(root: Path, environ: Mapping[str, str], *args: str) -> bool:
    return _run(root, environ, args, None, git_process.LOOK_SECONDS).returncode == 0


def _git(root: Path, environ: Mapping[str, str], *args: str, stdin: str | None = None) -> str:
    """The same for what should not fail. Hooks take their time."""
    done = _run(root, environ, args, stdin, None)
    if done.returncode:
        raise _refused(
            "git-refused", done.stderr or done.stdout.strip() or f"git {args[0]}: {done.returncode}."
        )
    return done.stdout


def _run(
    root: Path, environ: Mapping[str, str], args: tuple[str, ...], stdin: str | None, seconds: float | None
) -> subprocess.CompletedProcess[str]:
    try:
        return git_process.run(root, environ, *args, stdin=stdin, seconds=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _refused("git-refused", f"git {args[0]}: {error}.") from None
