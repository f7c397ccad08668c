"""What the documentation shows is what happens: examples run, outputs agree, schemas are fresh."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lifecycle_as_code.cli.commands import schema

ROOT = Path(__file__).parent.parent
STORIES = ROOT / "tests" / "scenarios"
README = (ROOT / "README.md").read_text()
CONSOLE = re.compile(r"```console\n(.*?)```", re.S)
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").rglob("*.yaml")
    if not any(part.startswith(".") for part in path.parts)
)


def schema_of(path: Path) -> dict[str, Any]:
    name = "lac" if path.name == "lac.yaml" else "manifest"
    loaded: dict[str, Any] = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())
    return loaded


def test_the_schemas_are_those_that_the_specs_give() -> None:
    kept = {path.name: path.read_text() for path in (ROOT / "schemas").iterdir()}
    assert kept == schema.schema_texts(), "run `lac schema --out schemas`"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_editor_accepts_every_example(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=")
    pointed = text.partition("$schema=")[2].splitlines()[0]
    assert (path.parent / pointed).resolve().is_file()
    jsonschema.Draft202012Validator(schema_of(path)).validate(yaml.safe_load(text))


def yaml_blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", README, re.S)


@pytest.mark.parametrize("text", yaml_blocks(), ids=lambda text: text.splitlines()[0])
def test_the_manifests_in_the_readme_are_valid(text: str) -> None:
    path = Path(text.splitlines()[0].removeprefix("# "))
    jsonschema.Draft202012Validator(schema_of(path)).validate(yaml.safe_load(text))


REFUSED = {
    "mistyped_field": [0, 1],
    "quoting": [0, 2],
    "roles_and_permissions": [2],
    "saved_plan": [4],
    "selectors": [2],
}
"""The manifests in the stories that an editor can know to be wrong, by their place in the story."""


@pytest.mark.parametrize("story", sorted(STORIES.glob("*.md")), ids=lambda path: path.stem)
def test_an_editor_refuses_what_it_can_know(story: Path) -> None:
    refused = []
    for place, text in enumerate(re.findall(r"```yaml\n(.*?)```", story.read_text(), re.S)):
        path = Path(text.splitlines()[0].removeprefix("# "))
        if path.suffix != ".j2" and not accepts(path, text):
            refused.append(place)
    assert refused == REFUSED.get(story.stem, [])


def accepts(path: Path, text: str) -> bool:
    try:
        return jsonschema.Draft202012Validator(schema_of(path)).is_valid(yaml.safe_load(text))
    except yaml.YAMLError:
        return False


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each `$ command` with the lines that it printed, blank ones apart."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and line.strip():
            found[-1][1].append(line.rstrip())
    return found


@pytest.mark.own_ray
def test_the_first_command_does_what_the_readme_shows(tmp_path: Path) -> None:
    """The whole main job, on a Ray of its own. Lines that name files or ids are left out of the README."""
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    directory = tmp_path / "quickstart"
    lac = [sys.executable, "-m", "lifecycle_as_code", "-C", str(directory)]
    try:
        ran = subprocess.run(
            [sys.executable, str(ROOT / "examples/quickstart/run.py"), str(directory)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=400,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
        printed = commands(ran.stdout)
        for block in CONSOLE.findall(README):
            for command, lines in commands(block):
                assert any(is_part(lines, output) for shown, output in printed if shown == command), (
                    f"`{command}` printed nothing like:\n" + "\n".join(lines)
                )
        assert commands(ran.stdout)[-1][1][0].startswith("HTTP 200")
    finally:
        subprocess.run([*lac, "down"], env=environment, check=False, capture_output=True)


def is_part(lines: list[str], output: list[str]) -> bool:
    """Whether `lines` stand in `output`, in order; which of two entities answered is chance."""
    rest = iter(map(settled, output))
    return all(settled(line) in rest for line in lines)


def settled(line: str) -> str:
    """Without what is chance, or differs from one run to the next."""
    line = re.sub(r"served entity \w+, version \d", "served entity", line)
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC|\b[0-9a-f]{8}\b", "…", line)
    return re.sub(r"(…  \w+ +\w+  )\S+", r"\1who", line)
