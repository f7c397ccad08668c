"""Where things stand in the package: what makes it readable like a table of contents, and is easily lost."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lifecycle_as_code
from lifecycle_as_code.kinds import KINDS

PACKAGE = Path(lifecycle_as_code.__file__).parent

VOCABULARY = PACKAGE / "serving" / "levels.py"
"""MLflow names the resources of grants in words of its own, some of which are names of kinds; they stand here
and nowhere else, for what runs on the cluster needs them too and can import no kind."""


CHATS = PACKAGE / "serving"
"""What runs on the cluster reads chats, each message of which has a `role`."""


def modules() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*.py")) if "__pycache__" not in path.parts)


def kinds_named(source: str) -> Iterator[tuple[int, str]]:
    """The lines on which a kind's name, or the beginning of an address, stands as a literal.

    Not looked at are the words of a sentence in an f-string, and the names of MLflow's columns.
    """
    tree = ast.parse(source)
    words = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    words |= {
        id(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Column"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            kind, dot, name = node.value.partition(".")
            is_name = not dot and id(node) not in words
            is_address = bool(dot) and " " not in name
            if kind in KINDS and (is_name or is_address):
                yield node.lineno, node.value


def imports_of_kinds(path: Path) -> Iterator[str]:
    """What a module imports from `kinds`, but for `kinds.base`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            steps = node.module.split(".")
            if "kinds" in steps and steps[-1] != "base":
                yield node.module


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('KIND = "model_alias"', ["model_alias"]),
        ('case = {"role": 1}', ["role"]),
        ('match a:\n    case ("permission", _):\n        pass', ["permission"]),
        ('name = f"model_alias.{model}"', ["model_alias."]),
        ('text = f"role {name}"', []),
        ('Column("permission", String(255))', []),
    ],
)
def test_a_kind_s_name_as_a_literal_is_noticed(source: str, expected: list[str]) -> None:
    assert [name for _, name in kinds_named(source)] == expected


def test_no_kind_is_named_outside_kinds() -> None:
    """A new kind is a file in `kinds/`: what others need to know about it, its hooks and traits say."""
    elsewhere = [p for p in modules() if p.relative_to(PACKAGE).parts[0] != "kinds" and p != VOCABULARY]
    named = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in elsewhere
        for line, name in kinds_named(path.read_text())
        if name != "role" or CHATS not in path.parents
    ]
    assert not named, "ask the Spec class for its trait, or give the kind a hook"


def test_the_stack_alone_knows_the_kinds() -> None:
    """All else gets them, or their Spec classes, as arguments."""
    elsewhere = [p for p in modules() if p.relative_to(PACKAGE).parts[0] != "kinds"]
    importers = [str(path.relative_to(PACKAGE)) for path in elsewhere if any(imports_of_kinds(path))]
    assert importers == ["stack.py"]


def test_the_package_root_holds_its_entrances_alone() -> None:
    """Everything else is in a wing."""
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "stack.py"}
