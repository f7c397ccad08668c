"""A promotion on a branch of its own: one file, one commit, and nothing else of anybody's is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.promotions import DECLARED, directory, store  # noqa: F401 - fixtures are found by name

from lifecycle_as_code.cli import run
from lifecycle_as_code.engine import git as branch

IDENTITY = "[user]\nname = Ann\nemail = ann@example.com\n"


def git(*args: str) -> str:
    done = subprocess.run(["git", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def repository(
    directory: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The stack in a repository with other work in every state that it can be in."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(directory / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    Path(".gitconfig").write_text(f"{IDENTITY}[init]\ndefaultBranch = main\n")
    Path("m.yaml").write_text(DECLARED)
    for name in ("staged.txt", "changed.txt", "both.txt"):
        Path(name).write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "Begin")
    Path("both.txt").write_text("2\n")
    Path("staged.txt").write_text("2\n")
    git("add", "both.txt", "staged.txt")
    Path("both.txt").write_text("3\n")
    Path("changed.txt").write_text("2\n")
    Path("untracked.txt").write_text("1\n")
    return directory


def status() -> str:
    """What is checked out, every branch, what is staged and what isn't, and every file's text."""
    where = git("rev-parse", "--symbolic-full-name", "HEAD") + git("for-each-ref") + git("diff", "--staged")
    return where + git("status", "--porcelain", "--untracked-files=all") + git("diff")


def work() -> str:
    """What isn't committed."""
    return git("diff", "--staged") + git("diff") + git("status", "--porcelain")


@pytest.mark.usefixtures("repository")
def test_the_file_alone_is_committed_to_a_branch_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, main = work(), git("rev-parse", "HEAD")
    assert run(["promote", "fraud", "--branch"]) == 0, capsys.readouterr().err
    assert git("branch", "--show-current") == "promote-fraud-champion-v4\n"
    assert git("show", "--name-status", "--format=%s%n%n%b%P") == (
        f"Promote fraud version 4 to champion\n\nBefore: version 3.\nSignature: unknown\n{main}\nM\tm.yaml\n"
    )
    assert git("show", "HEAD:m.yaml") == DECLARED.replace("champion: 3", "champion: 4")
    assert work() == before
    assert "Committed m.yaml to the new branch promote-fraud-champion-v4" in capsys.readouterr().err


@pytest.mark.usefixtures("repository")
def test_a_program_learns_of_branch_and_commit(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["promote", "fraud", "--branch", "team/fraud-4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["branch"], found["commit"] + "\n") == ("team/fraud-4", git("rev-parse", "team/fraud-4"))
    assert found["plan"]["summary"]["update"] == 1
    # the patch is one that git takes
    git("checkout", "-q", "main")
    subprocess.run(["git", "apply", "-p0", "-"], input=found["patch"], text=True, check=True)
    assert git("diff", "team/fraud-4", "--", "m.yaml") == ""


@pytest.mark.usefixtures("repository")
def test_a_dry_run_makes_no_branch(capsys: pytest.CaptureFixture[str]) -> None:
    before = status()
    assert run(["promote", "fraud", "--branch", "--dry-run"]) == 0
    assert status() == before
    out, err = capsys.readouterr()
    assert out.endswith("-      champion: 3\n+      champion: 4\n       challenger: 4\n")
    assert err == "\nNothing was written.\n"


def hook(name: str, script: str) -> None:
    path = Path(".git/hooks") / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def nameless() -> None:
    Path(".gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    git("add", ".gitconfig")


def behind_a_link() -> None:
    Path("m.yaml").rename("untracked.text")
    Path("m.yaml").symlink_to("untracked.text")


def merging() -> None:
    Path(".git/MERGE_HEAD").write_text(git("rev-parse", "HEAD"))


def detached() -> None:
    git("checkout", "-q", "--detach")
    hook("pre-commit", "exit 1")


REFUSED: dict[str, tuple[Callable[[], object], str, str, str]] = {
    "a branch of that name": (
        lambda: git("branch", "promote-fraud-champion-v4"),
        "",
        "branch-exists",
        "There is a branch promote-fraud-champion-v4 already.",
    ),
    "another word for a branch": (
        lambda: (git("checkout", "-q", "-b", "b"), git("checkout", "-q", "-")),
        "@{-1}",
        "branch-exists",
        "There is a branch b already.",
    ),
    "a branch of a longer name": (lambda: git("branch", "team/x"), "team", "git-refused", "team"),
    "no name for a branch": (lambda: None, "a..b", "bad-branch", "a..b"),
    "a file with changes": (
        lambda: Path("m.yaml").write_text(DECLARED + "# more\n"),
        "",
        "not-committed",
        "m.yaml differs from its last commit.",
    ),
    "a file with staged changes": (
        lambda: (Path("m.yaml").write_text(DECLARED + "# more\n"), git("add", "m.yaml")),
        "",
        "not-committed",
        "m.yaml differs from its last commit.",
    ),
    "a file that git doesn't know": (
        lambda: Path("m.yaml").rename("n.yaml"),
        "",
        "not-committed",
        "n.yaml",
    ),
    "a link to a file that git doesn't know": (behind_a_link, "", "not-committed", "untracked.text"),
    "a merge that isn't done": (merging, "", "git-refused", "merg"),
    "a hook that says no where no branch is checked out": (detached, "", "git-refused", "git commit"),
    "a hook that says no when the branch is there": (
        lambda: hook("post-checkout", "exit 1"),
        "",
        "git-refused",
        "git switch",
    ),
    "a hook that removes the file": (
        lambda: hook("pre-commit", "git rm -qf m.yaml; exit 1"),
        "",
        "git-refused",
        "git commit",
    ),
    "nobody who commits": (nameless, "", "git-refused", "name"),
    "a hook that says no": (
        lambda: hook("pre-commit", "echo 'no promotions on Fridays' >&2; exit 1"),
        "",
        "git-refused",
        "no promotions on Fridays",
    ),
    "a hook that rewrites the file and stages it": (
        lambda: hook("pre-commit", "echo '# x' >> m.yaml; git add m.yaml; exit 1"),
        "",
        "git-refused",
        "git commit",
    ),
}


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(("make", "name", "code", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_leaves_everything_as_it_was(
    make: Callable[[], object],
    name: str,
    code: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make()
    before = status()
    assert run(["promote", "fraud", f"--branch={name}" if name else "--branch"]) == 1
    err = capsys.readouterr().err
    assert f"error[{code}]" in err
    assert told in err
    assert status() == before


@pytest.mark.usefixtures("repository")
def test_an_interrupted_commit_leaves_everything_as_it_was() -> None:
    before = status()
    prepared = branch.prepare_branch(Path("m.yaml"), "topic", {"PATH": "/usr/bin:/bin"})

    def interrupted() -> None:
        Path("m.yaml").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared.commit(interrupted, "Never")
    assert status() == before


@pytest.mark.usefixtures("repository")
def test_so_does_one_that_is_interrupted_when_git_has_done_it() -> None:
    before = status()
    prepared = branch.prepare_branch(Path("m.yaml"), "topic", os.environ)
    hook("post-commit", f"kill -INT {os.getpid()}; sleep 1")
    # what a shell starts in the background ignores it
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            prepared.commit(lambda: Path("m.yaml").write_text("done\n"), "Never")
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert status() == before


@pytest.mark.usefixtures("directory")
def test_without_a_repository_or_a_commit_there_is_no_branch(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.yaml").write_text(DECLARED)
    assert run(["promote", "fraud", "--branch"]) == 1
    assert "error[no-repository]" in capsys.readouterr().err
    git("init", "-q")
    assert run(["promote", "fraud", "--branch"]) == 1
    assert "error[no-commit]" in capsys.readouterr().err
    assert Path("m.yaml").read_text() == DECLARED


@pytest.mark.usefixtures("repository")
def test_a_link_stays_one_and_the_file_keeps_its_mode() -> None:
    Path("real").mkdir()
    Path("m.yaml").rename("real/fraud.yaml")
    Path("real/fraud.yaml").chmod(0o755)
    Path("link.yaml").symlink_to("real/fraud.yaml")
    Path("lac.yaml").write_text(Path("lac.yaml").read_text() + "include: [link.yaml]\n")
    git("add", "real", "link.yaml", "m.yaml")
    git("commit", "-qm", "Move")
    assert run(["promote", "fraud", "--branch"]) == 0
    assert git("show", "--name-only", "--format=").split() == ["real/fraud.yaml"]
    assert Path("link.yaml").is_symlink()
    assert Path("real/fraud.yaml").stat().st_mode & 0o777 == 0o755


NAMES = [
    (("promote", "fraud", "champion", "v4"), "promote-fraud-champion-v4"),
    (("promote", "a b..c@{d}/e~f", "x.lock"), "promote-a-b.c-d-e-f-x"),
    (("-", "..", "不正検知 🦊"), "不正検知"),
    (("promote", "x" * 300), "promote-" + "x" * 92),
    (("\x1b[31m", "a\\b:c?*"), "31m-a-b-c"),
]


@pytest.mark.parametrize(("words", "name"), NAMES, ids=[name for _, name in NAMES])
def test_any_words_make_a_name_that_git_takes(words: tuple[str, ...], name: str) -> None:
    assert branch.make_branch_name(*words) == name
    git("check-ref-format", "--branch", name)
