"""git: the one way that it is run, and a branch for one changed file. A branch's commit touches nothing else
in the work tree or the index, and nothing is pushed. Hooks run as they do for any commit."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..model.diagnostics import Diagnostic, LacError

QUERY_SECONDS: Final = 30.0
"""How long a query may take."""
_MOST_OUTPUT: Final = 2_000
_LONGEST_NAME: Final = 100


def run(
    directory: Path,
    environ: Mapping[str, str],
    *args: str,
    stdin: str | None = None,
    seconds: float | None = QUERY_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run git in `directory`: its exit code, its stdout, and the end of its stderr. `seconds` None waits for
    its hooks, however long. OSError where there is no git, subprocess.TimeoutExpired where it takes too long;
    it is terminated then, as killing it would leave its locks behind."""
    command = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", *args]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=dict(environ), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            out, err = process.communicate((stdin or "").encode(), seconds)
        except BaseException:
            process.terminate()
            raise
    problem = err.decode(errors="replace").strip()[-_MOST_OUTPUT:]
    return subprocess.CompletedProcess(command, process.returncode, out.decode(errors="replace"), problem)


@dataclass(frozen=True, slots=True)
class _WorkTree:
    """git in one directory. LacError `git-refused` where it can't run or takes too long."""

    root: Path
    environ: Mapping[str, str]

    def query(self, code: str, *args: str, about: str = "") -> str:
        """git's output. LacError with this code where it fails."""
        result = self._run(args)
        if result.returncode:
            raise _error(code, about or result.stderr or f"{self.root}.")
        return result.stdout

    def answers(self, *args: str) -> bool:
        """Whether git exits with 0."""
        return self._run(args).returncode == 0

    def change(self, *args: str, stdin: str | None = None) -> str:
        """git's output, however long its hooks take. LacError `git-refused` where it fails."""
        result = self._run(args, stdin, None)
        if result.returncode:
            detail = result.stderr or result.stdout.strip() or f"git {args[0]}: {result.returncode}."
            raise _error("git-refused", detail)
        return result.stdout

    def has(self, branch: str) -> bool:
        """Whether there is such a branch."""
        return self.answers("show-ref", "--verify", "--quiet", f"refs/heads/{branch}")

    def _run(
        self, args: tuple[str, ...], stdin: str | None = None, seconds: float | None = QUERY_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        try:
            return run(self.root, self.environ, *args, stdin=stdin, seconds=seconds)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _error("git-refused", f"git {args[0]}: {error}.") from None


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch that can be created: `file` is committed and unchanged, and the name is free. `head`: the
    commit that it begins at. `origin`: the branch that is checked out; empty for none."""

    name: str
    file: Path
    tree: _WorkTree
    head: str
    origin: str

    def commit(self, write: Callable[[], object], message: str) -> str:
        """Check the branch out, let `write` change the file, and commit that. Returns the commit's id.
        LacError where git refuses. After any error the file and the checkout are as before."""
        before = self.file.read_bytes()
        try:
            # at the same commit: no file changes, and uncommitted changes come along
            self.tree.change("switch", "--quiet", "--no-track", "--create", self.name)
            write()
            options = ("--quiet", "--only", "--cleanup=whitespace", "--file=-")
            self.tree.change("commit", *options, "--", self._path, stdin=message)
        except BaseException:
            # a hook may refuse after git has created the branch
            if self.tree.has(self.name):
                self._undo(before)
            raise
        return self.tree.change("rev-parse", "HEAD").strip()

    @property
    def _path(self) -> str:
        return f":(top,literal){self.file.relative_to(self.tree.root)}"

    def _undo(self, before: bytes) -> None:
        with ExitStack() as undoing:
            # the last one first, each of them even if the others fail
            undoing.callback(self.tree.change, "branch", "--quiet", "--delete", "--force", "--", self.name)
            # after the commit, the index has it
            undoing.callback(self.tree.change, "reset", "--quiet", "--", self._path)
            if self.origin:
                undoing.callback(self.tree.change, "symbolic-ref", "HEAD", f"refs/heads/{self.origin}")
            else:
                undoing.callback(self.tree.change, "update-ref", "--no-deref", "HEAD", self.head)
            if not self.file.is_file() or self.file.read_bytes() != before:
                self.file.write_bytes(before)


def make_branch_name(*words: object) -> str:
    """A valid name for a branch, from these words."""
    name = re.sub(r"[^\w.-]+", "-", "-".join(map(str, words)))
    name = re.sub(r"\.{2,}", ".", name).strip("-.")[:_LONGEST_NAME]
    return name.removesuffix(".lock").rstrip("-.")


def prepare_branch(file: Path, name: str, environ: Mapping[str, str]) -> Branch:
    """The branch, not created yet. LacError where it can't be: no repository, no commit, a name that is in
    use or invalid, or a file with uncommitted changes."""
    file = file.resolve()
    root = _WorkTree(file.parent, environ).query("no-repository", "rev-parse", "--show-toplevel")
    tree = _WorkTree(Path(root.rstrip("\n")).resolve(), environ)
    head = tree.query("no-commit", "rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
    # `@{-1}` is the branch that was checked out before
    name = tree.query("bad-branch", "check-ref-format", "--branch", name, about=name).rstrip("\n")
    if tree.has(name):
        raise _error("branch-exists", f"There is a branch {name} already.")
    is_detached = not tree.answers("symbolic-ref", "--quiet", "HEAD")
    origin = "" if is_detached else tree.change("symbolic-ref", "HEAD").strip().removeprefix("refs/heads/")
    branch = Branch(name, file, tree, head, origin)
    tree.query("not-committed", "ls-files", "--error-unmatch", "--", branch._path, about=str(file))
    if tree.change("status", "--porcelain", "-z", "--", branch._path):
        raise _error("not-committed", f"{file} differs from its last commit.")
    return branch


_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "no-repository": ("there is no git repository", "make one with `git init`, or omit `--branch`"),
    "no-commit": ("the repository has no commit yet", "commit the manifests first"),
    "bad-branch": ("invalid branch name", "name another with `--branch NAME`"),
    "branch-exists": ("the branch exists already", "name another with `--branch NAME`, or delete that one"),
    "not-committed": (
        "the file has changes that aren't committed",
        "commit or stash them first, or omit `--branch`",
    ),
    "git-refused": (
        "git refused",
        "nothing was changed; without `--branch` the file is edited and not committed",
    ),
}


def _error(code: str, detail: str) -> LacError:
    summary, hint = _REFUSALS[code]
    return LacError(Diagnostic(code, summary, detail, hint=hint))
