"""`lac fmt`: one layout, idempotent; what a manifest says and every comment stays."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from hypothesis import assume, example, given, reject, settings
from hypothesis import strategies as st
from support.promotions import AWKWARD

from lifecycle_as_code.cli import run
from lifecycle_as_code.manifest.format import CannotFormatError, format_text
from lifecycle_as_code.manifest.yaml.outline import Node, Outline
from lifecycle_as_code.manifest.yaml.reader import parse
from lifecycle_as_code.manifest.yaml.report import Report

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[3]

MESSY = """\


# head\t
registered_models:   # all


- name:   fraud
# far left
  description: |
      a
        b
    \n\
      c  \t
   # of the versions
  versions:
    -   version: 1
        source:  s3://m/1
        # about tags
        tags:
           # own
           a:   "x  \n\
         y \\  \n\
          z"
           b: {c: d,  # inside
              e: f }
    -
       version: 2
    # no third one

  aliases:
      "champion" :  3   # so
  tags : {
    a: b,


    c: d
  }
  # end of fraud
# very end
  \n\
"""
NEAT = """\
# head
registered_models:   # all

  - name: fraud
    # far left
    description: |
        a
          b

        c  \t
    # of the versions
    versions:
      - version: 1
        source: s3://m/1
        # about tags
        tags:
          # own
          a: "x
            y \\  \n\
            z"
          b: {c: d,  # inside
             e: f }
      - version: 2
    # no third one

    aliases:
      "champion": 3   # so
    tags: {
      a: b,


      c: d
    }
    # end of fraud
# very end
"""

RULES: dict[str, tuple[str, str]] = {
    "all of it": (MESSY, NEAT),
    "nothing": ("", ""),
    "blanks": (" \n\n  \n", ""),
    "comments alone keep their columns": ("\n# a\n   # b  \n\n\n#c", "# a\n   # b\n\n#c\n"),
    "the last line ends": ("a: b", "a: b\n"),
    "a mark of the byte order goes": ("\ufeffa: b\n", "a: b\n"),
    "ends as on Windows stay": ("a:   b\r\n\r\n\r\nc: d", "a: b\r\n\r\nc: d\r\n"),
    "mixed ends become one": ("a: b\r\nc: d\n", "a: b\nc: d\n"),
    "a block at the end is not given an end": ("a: |\n  b", "a: |\n  b"),
    "one that drops its end is": ("a: |-\n  b", "a: |-\n  b\n"),
    "blank lines that a block keeps stay": ("a: |+\n  b\n\n\n", "a: |+\n  b\n\n\n"),
    "others go": ("a: |\n  b\n\n \n\n", "a: |\n  b\n"),
    "blanks that a block holds stay": ("a: |\n  b\n    \nc: d\n", "a: |\n  b\n    \nc: d\n"),
    "an indentation that is said": (
        "a:\n    b: |2\n        two more\n      none\n",
        "a:\n  b: |2\n      two more\n    none\n",
    ),
    "marks of documents": (
        "%YAML 1.1\n---   # begin\n\n\na:\n- b\n...  \n",
        "%YAML 1.1\n---   # begin\na:\n  - b\n...\n",
    ),
    "anchors, merges and aliases": (
        "x: &a\n    b: &c\n     d\nm:\n    <<:   *a\n    *c : {e: *c}\nl:\n- &e\n  f: g\n",
        "x: &a\n  b: &c\n    d\nm:\n  <<: *a\n  *c : {e: *c}\nl:\n  - &e\n    f: g\n",
    ),
    "values on lines of their own": (
        "a:\n        b\nc:\n - \n     'd'\ne:\n   &f\n   g:\n",
        "a: b\nc:\n  - 'd'\ne: &f\n  g:\n",
    ),
    "braces around all": ("  {a: b,  \n  c:\n   d}", "  {a: b,\n  c:\n   d}\n"),
    "keys in the long form": ("? a\n: ? b\n  : c\n", "a:\n  b: c\n"),
    "a comment below a block, and one behind its header": (
        "a:\n- | # b\n  c\n\n  # d\n\n# e\nf: g\n",
        "a:\n  - | # b\n    c\n\n    # d\n\n# e\nf: g\n",
    ),
    "what looks like a name of ours": (
        "a: &v9\n    v1:   v2 # v3\nb: &base-v9 # v1\n    v0: &v9 v7\n    # v5\n",
        "a: &v9\n  v1: v2 # v3\nb: &base-v9\n  # v1\n  v0: &v9 v7\n  # v5\n",
    ),
    "values below dashes": (
        "a:\n- -\n    two\n   words\n  -\n   |\n   b\n",
        "a:\n  -   - two\n        words\n      - |\n        b\n",
    ),
    "a comment behind a dash": ("a:\n- # b\n  c: d\n", "a:\n  # b\n  - c: d\n"),
    "numbers, words and escapes": (
        'a: [1_0, 0o7,  no]\nb: 1.10\nc: ~\nd: "\\x41\\/"\ne: 0755\nf: Yes\n',
        'a: [1_0, 0o7,  no]\nb: 1.10\nc: ~\nd: "\\x41\\/"\ne: 0755\nf: Yes\n',
    ),
    "tabs": ("a:\tb\t# c\td\n", "a: b\t# c\td\n"),
    "templates": ("a:   '{{ var.b }}'\n", "a: '{{ var.b }}'\n"),
    "a long line": (f"a:   {'b ' * 200}c\n", f"a: {'b ' * 200}c\n"),
    "a bracket that closes at the key": ("a:\n    b: [\n        c,\n    ]\n", "a:\n  b: [\n      c,\n  ]\n"),
    "a comment above what it is aligned with": (
        "a:\n- b\n# c\n- d\n# e\nf: g\n",
        "a:\n  - b\n  # c\n  - d\n# e\nf: g\n",
    ),
    "a comment above the first of a block": ("a:\n# b\n    c: d\n", "a:\n  # b\n  c: d\n"),
    "a comment to the right of all": ("a:\n    b: c\n             # d\n", "a:\n  b: c\n  # d\n"),
    "what looks like a comment": (
        "a: b#c\nd: '# e'\nf: >\n  # g\n  h\ni: \"j\n   # k\"\n",
        "a: b#c\nd: '# e'\nf: >\n  # g\n  h\ni: \"j\n   # k\"\n",
    ),
}


@pytest.mark.parametrize(("text", "wanted"), RULES.values(), ids=RULES)
def test_the_layout_is(text: str, wanted: str) -> None:
    assert format_text(text) == wanted
    assert format_text(wanted) == wanted


REFUSED = {
    "- \n\n# c1\n- |1": "a comment would be lost or reordered",
    'a: "b\u2028c"\n': "line 1 has an invisible line break",
    "a: b\rc: d\n": "line 1 has an invisible line break",
    "a: &id001\n  b: c\n": "the formatted text would have another meaning",
}


@pytest.mark.parametrize(("text", "why"), REFUSED.items(), ids=REFUSED.values())
def test_what_is_not_understood_is_left_alone(text: str, why: str) -> None:
    with pytest.raises(CannotFormatError, match=why):
        format_text(text)


def every_text() -> Iterator[tuple[str, str]]:
    """The examples, the YAML in stories and documentation, and the awkward files of `lac promote`."""
    for path in sorted([*ROOT.glob("examples/**/*.yaml"), *ROOT.glob(".github/**/*.yml")]):
        yield str(path.relative_to(ROOT)), path.read_text()
    for path in [*sorted(ROOT.glob("tests/**/*.md")), *sorted(ROOT.glob("examples/*/*.md"))]:
        for number, text in enumerate(re.findall(r"```ya?ml\n(.*?)```", path.read_text(), re.S)):
            yield f"{path.parent.name}/{path.name}#{number}", text
    for name, (files, _, _) in AWKWARD.items():
        yield from ((f"{name}: {file}", text) for file, text in files.items())


EVERY = dict(every_text())


@pytest.mark.parametrize("text", EVERY.values(), ids=EVERY)
def test_every_text_of_ours_can_be_formatted(text: str) -> None:
    if read(text) is None:
        return
    assert format_text(once := format_text(text)) == once


def test_the_examples_are_formatted() -> None:
    for project in ROOT.glob("examples/**/lac.yaml"):
        assert run(["fmt", "--check", str(project.parent)]) == 0, project


# any text


def read(text: str) -> str | None:
    """What our own reader makes of a text, as something that can be compared; None where it refuses it."""
    report = Report("")
    tree = parse(text.encode(), report)
    return None if report.problems else repr(tree)


class Dice:
    """Choices made by bytes: cheap to draw, and the first choice when they have run out."""

    def __init__(self, rolls: bytes) -> None:
        self._rolls = iter(rolls)

    def pick(self, *choices: T) -> T:
        return choices[next(self._rolls, 0) % len(choices)]

    def some(self, *choices: T) -> list[T]:
        return [self.pick(*choices) for _ in range(self.pick(0, 0, 1, 2))]


def shifted(lines: list[str], by: int) -> list[str]:
    return [" " * by + line if line.strip() else line for line in lines]


def scalars(dice: Dice) -> list[str]:
    """A value; its lines below the first are relative to the entry that it is the value of."""
    indent = dice.pick(1, 2, 3, 5)
    match dice.pick("word", "word", "plain", "quoted", "block", "flow"):
        case "word":
            words = (
                "a",
                "b c",
                "'d # e'",
                '"f: g"',
                "1.10",
                "no",
                "'{{ var.h }}'",
                "é",
                "-i",
                "~",
                "x#c9",
                "",
            )
            return [dice.pick(*words)]
        case "plain":
            return ["two", *shifted([dice.pick("words", "words ", "#c"[1:]), "", "more"], indent)]
        case "quoted":
            first, quote = dice.pick(('"x ', '"'), ("'x", "'"), ('"x\\', '"'), ('"x\\ ', '"'))
            return [first, "", *shifted([dice.pick("y", "# y", "- y") + quote], indent)]
        case "block":
            said = dice.pick("", str(indent))
            header = dice.pick("|", ">") + said + dice.pick("", "-", "+") + dice.pick("", " # c6", "  ")
            lines = dice.some("a", " b", "# d", "", "   ", "e  ", "\tf", "- g", " " * 9)
            return [header, *shifted([*([] if said else ["x"]), *lines], indent)]
        case _:
            first, *rest = dice.pick(
                ["{k: v,", "l: [m,", "", "", "n]", "}"],
                ["[o, # c7", "p]  # c8"],
                ["{}"],
                ["[", "'r", "", "s', t", "]"],
                ['{"u"', ":v}"],
            )
            return [first, *(" " * dice.pick(1, 2, 4) + line if line else "" for line in rest)]


def notes(dice: Dice) -> list[str]:
    """Comments and blank lines between entries, at any column."""
    return [
        " " * dice.pick(0, 1, 2, 3, 4, 6) + note for note in dice.some("", "# c1", "#c2", "# c3: d", "#- c4")
    ]


def block(dice: Dice, depth: int = 0) -> list[str]:
    """The lines of a mapping or a list whose entries begin at column 0."""
    listed = dice.pick(False, depth > 0, True)
    lines: list[str] = []
    for key in "abc"[: dice.pick(1, 2, 3)]:
        lines += notes(dice)
        head = "-" if listed else dice.pick(key, f"'{key}'", f"{key} ") + ":"
        anchor = dice.pick("", "", f" &{key}{depth}")
        if depth == 4 or dice.pick(True, False):
            gap = dice.pick(" ", "  ", "   ", " \t", f"\n{' ' * 7}")
            first, *rest = scalars(dice)
            lines += [*f"{head}{anchor}{gap}{first}".split("\n"), *rest]
            continue
        inner = block(dice, depth + 1)
        if listed and inner[0].strip() and inner[0].lstrip()[0] != "#" and dice.pick(True, False):
            gap = " " * dice.pick(1, 2, 3)
            lines += [f"-{gap}{inner[0]}", *shifted(inner[1:], len(gap) + 1)]
            continue
        lines += [f"{head}{anchor}{dice.pick('', '  # c5', ' ')}", *notes(dice)]
        lines += shifted(inner, dice.pick(2, 1, 4, 0, 3))
    return lines


def document(rolls: bytes) -> str:
    dice = Dice(rolls)
    head = dice.pick([], ["---"], ["--- # c1"], ["%YAML 1.1", "---"])
    lines = [*head, *block(dice), *notes(dice), *dice.pick([], [], ["..."], ["... # c2", "#c3"])]
    newline = dice.pick("\n", "\n", "\r\n")
    return dice.pick("", "", "\ufeff") + newline.join(lines) + dice.pick("", newline, newline * 3)


def columns(node: Node, text: str) -> Iterator[tuple[int, int]]:
    """For each entry of a block, its column and the one that it should have."""

    def walk(node: Node, wanted: int) -> Iterator[tuple[int, int]]:
        if not node.flow:
            for head, item in zip(node.heads, node.items, strict=True):
                yield head - text.rfind("\n", 0, head) - 1, wanted
                # ruamel.yaml sets a list in a list two columns to the right of where it could begin
                yield from walk(item, wanted + (4 if node.sort == item.sort == "list" else 2))

    return walk(node, 2 if node.sort == "list" else 0)


NOTE = re.compile(r"#[- ]?c[1-8]")


def test_a_comment_beside_a_block_without_lines_is_kept() -> None:
    assert format_text("a: |1  # b") == "a: |1  # b\n"


@settings(max_examples=200)
@given(st.binary(min_size=5, max_size=120).map(document))
@example("a:\n- b\n- c:\n  - d\n\n# e\n  # f\n# g\n")
def test_any_manifest_is_laid_out_and_says_the_same(text: str) -> None:
    before = read(text)
    assume(before is not None)
    try:
        once = format_text(text)
    except CannotFormatError:
        # one in twenty, for comments in unusual places; `test_every_text_of_ours_can_be_formatted` has none
        reject()
    assert read(once) == before
    assert format_text(once) == once
    assert Counter(NOTE.findall(once)) == Counter(NOTE.findall(text))
    plain = once.replace("\r\n", "\n")
    root = Outline(plain).root
    assert root is not None
    assert [column for column, _ in columns(root, plain)] == [wanted for _, wanted in columns(root, plain)]
    # blank lines and blanks at a line's end may be a part of a text
    if not re.search("[|>'\"{[]", plain):
        assert re.search(r"[ \t]$|\n\n\n|^\n", plain) is None


# the command

UGLY, PRETTY = "a:\n- b:   c # d\n", "a:\n  - b: c # d\n"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack with two files to be formatted, one that is, and what belongs to nobody or to another."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "lac.yaml": "name:   payments\n",
        "models/fraud.yaml": UGLY,
        "models/churn.yml": PRETTY,
        "models/more.yaml.j2": UGLY,
        "prod.vars.yaml": UGLY,
        "other/lac.yaml": UGLY,
        ".hidden/a.yaml": UGLY,
        "notes.txt": UGLY,
    }.items():
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def changed() -> list[str]:
    """The files that differ from what the fixture wrote."""
    texts = {str(path): path.read_text() for path in sorted(Path().rglob("*")) if path.is_file()}
    return [
        name
        for name, text in texts.items()
        if text not in (UGLY, "name:   payments\n") and "churn" not in name
    ]


@pytest.mark.usefixtures("stack")
def test_a_stack_is_formatted_and_the_files_that_changed_are_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["fmt"]) == 0
    listed = "lac.yaml\nmodels/fraud.yaml\n"
    assert capsys.readouterr() == (listed, "Skipped: models/more.yaml.j2 is a template.\n")
    assert changed() == listed.split()
    assert Path("models/fraud.yaml").read_text() == PRETTY
    assert run(["fmt", "."]) == 0
    assert capsys.readouterr().out == ""


def test_the_stack_may_be_elsewhere(stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(["-C", str(stack), "fmt", "--check"]) == 1
    assert run(["-C", str(stack), "fmt"]) == 0
    assert run(["-C", str(stack), "fmt", "--check"]) == 0


@pytest.mark.usefixtures("stack")
def test_a_check_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", "--check", "models"]) == 1
    assert capsys.readouterr().out == "models/fraud.yaml\n"
    assert run(["fmt", "--check", "models/churn.yml"]) == 0
    assert changed() == []


@pytest.mark.usefixtures("stack")
def test_the_difference_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", "--check", "--diff", "models/fraud.yaml", "models/../models/fraud.yaml"]) == 1
    assert capsys.readouterr().out == (
        "models/fraud.yaml\n--- models/fraud.yaml\n+++ models/fraud.yaml\n"
        "@@ -1,2 +1,2 @@\n a:\n-- b:   c # d\n+  - b: c # d\n"
    )
    assert changed() == []


@pytest.mark.usefixtures("stack")
def test_only_the_files_that_are_named_are_touched() -> None:
    os.chmod("prod.vars.yaml", 0o600)
    assert run(["fmt", "prod.vars.yaml", "other"]) == 0
    assert changed() == ["other/lac.yaml", "prod.vars.yaml"]
    assert Path("prod.vars.yaml").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("stack")
def test_what_can_not_be_read_is_told_and_the_others_are_formatted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("models/bad.yaml").write_text("a: [\n")
    Path("models/tag.yaml").write_text("a: !b c\n")
    assert run(["fmt"]) == 1
    err = capsys.readouterr().err
    assert "models/bad.yaml:2:1: error[yaml-syntax]" in err
    assert "models/tag.yaml:1:4: error[tag-refused]" in err
    assert Path("models/fraud.yaml").read_text() == PRETTY


@pytest.mark.usefixtures("stack")
def test_what_is_not_understood_is_told_and_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("models/long.yaml").write_text("a: &id001\n  b: c\n")
    assert run(["fmt", "--check", "models/long.yaml"]) == 0
    assert capsys.readouterr().err == (
        "models/long.yaml:1:1: warning[not-formatted]: file was not formatted\n"
        "  The formatted text would have another meaning.\n"
    )


@pytest.mark.parametrize(
    ("path", "code"),
    [("notes.txt", "not-a-manifest"), ("none.yaml", "unreadable-file"), ("none", "not-a-manifest")],
)
@pytest.mark.usefixtures("stack")
def test_what_is_no_manifest_is_refused(path: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", path]) == 1
    assert f"error[{code}]" in capsys.readouterr().err
    assert changed() == []


PIPED: list[tuple[list[str], bytes, int, str]] = [
    ([], UGLY.encode(), 0, PRETTY),
    ([], UGLY.replace("\n", "\r\n").encode(), 0, PRETTY.replace("\n", "\r\n")),
    (["--check"], UGLY.encode(), 1, ""),
    (["--check"], PRETTY.encode(), 0, ""),
    (["--diff"], UGLY.encode(), 0, "--- -\n+++ -\n@@ -1,2 +1,2 @@\n a:\n-- b:   c # d\n+  - b: c # d\n"),
    (["--diff"], PRETTY.encode(), 0, ""),
    ([], b"a: [", 1, ""),
    (["lac.yaml"], PRETTY.encode(), 1, ""),
]


@pytest.mark.parametrize(("args", "data", "code", "out"), PIPED)
def test_a_pipe_gets_the_text(
    args: list[str],
    data: bytes,
    code: int,
    out: str,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run(["fmt", "-", *args]) == code
    assert capfdbinary.readouterr().out == out.encode()


# the hooks


def git(*args: str) -> None:
    subprocess.run(["git", *args], check=True, capture_output=True)


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that runs our hooks by the real pre-commit, with the `lac` of this environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / ".cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["lac-validate", "lac-fmt"]
    for hook in hooks:
        # to install us into an environment of its own would take a minute and the network
        assert hook.pop("language") == "python"
        hook |= {
            "language": "system",
            "entry": f"{sys.executable} -m {hook['entry'].replace('lac', 'lifecycle_as_code')}",
        }
    Path(".pre-commit-config.yaml").write_text(yaml.dump({"repos": [{"repo": "local", "hooks": hooks}]}))
    Path(".gitignore").write_text(".cache\n")
    Path("lac.yaml").write_text("name: payments\n")
    Path("m.yaml").write_text("registered_models:\n- name: fraud\n")
    git("init", "-q")
    git("add", ".")
    return tmp_path


@pytest.mark.usefixtures("hooked")
def test_pre_commit_formats_and_validates() -> None:
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.search(r"lac validate\.+Passed", done.stdout), done.stdout + done.stderr
    assert "Valid: 1 object declared." in done.stdout
    assert re.search(
        r"lac fmt\.+Failed\n(- .*\n)*- files were modified by this hook\n\nm.yaml\n", done.stdout
    )
    assert Path("m.yaml").read_text() == "registered_models:\n  - name: fraud\n"


def test_pre_commit_takes_the_hooks() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")]
    subprocess.run(command, check=True)
