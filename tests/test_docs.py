"""What the documentation shows is what happens: guides are played, outputs agree, schemas are fresh.

`pytest tests/test_docs.py --update` writes down what is printed now, the picture included: read the diff
before you commit.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from support.fake_ray import paper_ray
from support.mlflow_fixture import drop_postgres, fresh_postgres
from support.stage import BLOCK, Stage, clear_environment, file_name, make_databases
from support.terminal import draw_svg, read_svg, run_on_terminal

from lifecycle_as_code.cli.commands import schema
from lifecycle_as_code.stores import processes
from lifecycle_as_code.stores.ray import local
from lifecycle_as_code.stores.ray.local import LocalRay

ROOT = Path(__file__).parent.parent
STORIES = ROOT / "tests" / "scenarios"
QUICKSTART = ROOT / "examples" / "quickstart"
PICTURE = QUICKSTART / "plan.svg"
COLUMNS = 100
"""As wide as the picture's terminal is."""
CONSOLE = re.compile(r"```console\n(.*?)```", re.S)
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").rglob("*.yaml")
    if not path.name.endswith(".policytest.yaml")
    and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
GUIDES = sorted((ROOT / "examples").glob("*/README.md"))
"""What stands below the heading `REFERENCE` is text, and isn't played."""
REFERENCE = "\n## Reference\n"
PAGES = [
    ROOT / "README.md",
    *GUIDES,
    *ROOT.glob(".github/*.md"),
    *ROOT.glob("lifecycle_as_code/**/README.md"),
]


def schema_of(path: Path) -> dict[str, Any]:
    name = "lac" if path.name == "lac.yaml" else "manifest"
    content: dict[str, Any] = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())
    return content


def test_the_schemas_are_those_that_the_specs_give() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "schemas").iterdir()}
    assert files == schema.schema_texts(), "run `lac schema --out schemas`"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_editor_accepts_every_example(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=")
    link = text.partition("$schema=")[2].splitlines()[0]
    assert (path.parent / link).resolve().is_file()
    jsonschema.Draft202012Validator(schema_of(path)).validate(yaml.safe_load(text))


def yaml_blocks() -> Iterator[tuple[str, str]]:
    for page in (ROOT / "README.md", *GUIDES):
        for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S):
            yield f"{page.parent.name}: {text.splitlines()[0]}", text


@pytest.mark.parametrize("text", [text for _, text in yaml_blocks()], ids=[name for name, _ in yaml_blocks()])
def test_the_manifests_in_the_guides_are_valid(text: str) -> None:
    path = Path(file_name(text))
    if not path.name.endswith(".policytest.yaml"):
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
    refusals = []
    for place, text in enumerate(re.findall(r"```yaml\n(.*?)```", story.read_text(), re.S)):
        path = Path(text.splitlines()[0].removeprefix("# "))
        if path.suffix != ".j2" and not accepts(path, text):
            refusals.append(place)
    assert refusals == REFUSED.get(story.stem, [])


def accepts(path: Path, text: str) -> bool:
    try:
        return jsonschema.Draft202012Validator(schema_of(path)).is_valid(yaml.safe_load(text))
    except yaml.YAMLError:
        return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_file_that_a_text_names_exists() -> None:
    """In the product's own texts, and in backquotes in the page for contributors."""
    sources = [path.read_text() for path in (ROOT / "lifecycle_as_code").rglob("*.py")]
    paths = {path for text in sources for path in re.findall(r"\b(?:examples|tests)/[\w/.-]*\w", text)}
    names = re.findall(r"`((?:\w[\w-]*/|\.\w+/)+[\w.-]*)`", (ROOT / ".github/CONTRIBUTING.md").read_text())
    homes = (ROOT, ROOT / "lifecycle_as_code")
    absent = {path for path in paths if not (ROOT / path).exists()}
    assert absent | {path for path in names if not any((home / path).exists() for home in homes)} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) < 10_000


VARYING = (
    (re.compile(r"\b(?<=m-)?[0-9a-f]{32}\b"), "<id>"),
    (
        re.compile(r"^( +run +)[0-9a-f]{8}, FINISHED, by \S+, [0-9-]{10}$", re.M),
        r"\1<run>, FINISHED, by <who>, <when>",
    ),
    (re.compile(r"^( +made by +).*$", re.M), r"\1<libraries>"),
    (re.compile(r"^( +size +).*$", re.M), r"\1<size>"),
)
"""In what guides print, besides what differs in stories: what MLflow makes up, and what is installed."""


def on_sqlite(stage: Stage, _: ExitStack) -> None:
    """Databases beside lac.yaml, as MLflow makes them at the first use."""
    for project in stage.directory.rglob("lac.yaml"):
        if "sqlite:///mlflow.db" in project.read_text():
            make_databases(project.parent)


def on_postgresql(stage: Stage, until_done: ExitStack) -> None:
    """A database with MLflow's tables, and a `psql` that is its owner."""
    store = fresh_postgres()
    until_done.callback(drop_postgres, store)
    owner = create_engine(store)
    until_done.callback(owner.dispose)

    def psql(arguments: list[str]) -> tuple[str, int]:
        flag, text = arguments[-2:]
        with owner.begin() as db:
            if flag == "-c" and (role := re.match(r"CREATE ROLE (\w+)", text)):
                # roles are the server's, which outlives this database
                row = db.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (role[1],)).first()
                text = text.replace("CREATE", "ALTER") if row else text
            db.exec_driver_sql(Path(text).read_text() if flag == "-f" else text)
        return "", 0

    def at(user: str, password: str) -> str:
        url = make_url(store).set(username=user, password="word").render_as_string(hide_password=False)
        return url.replace(":word@", f":{password}@").replace("postgresql+psycopg", "postgresql")

    stage.commands = {"psql": psql}
    logins = [(user, password) for user in ("lac_plan", "lac_apply") for password in (user, "***")]
    stage.places = {f"postgresql://{u}:{p}@db.example/mlflow": at(u, p) for u, p in logins}


def on_a_cluster(stage: Stage, until_done: ExitStack) -> None:
    """A Ray on paper, and SQLite in the place of a PostgreSQL that the cluster's nodes would reach."""
    make_databases(stage.directory)
    ray = until_done.enter_context(paper_ray())
    stage.places = {
        "http://head.example:8265": ray.address,
        "http://head.example:8000": ray.address,
        "postgresql://lac_apply@db.example/mlflow_auth": "sqlite:///basic_auth.db",
        "postgresql://lac_apply@db.example/mlflow": "sqlite:///mlflow.db",
    }


def on_a_local_ray(stage: Stage, until_done: ExitStack) -> None:
    """Databases, and a Ray on paper that `serve: local` starts."""
    on_sqlite(stage, until_done)
    ray = until_done.enter_context(paper_ray())

    def up(directory: Path, *, environment: Mapping[str, str], **_: Any) -> LocalRay:
        pid, port = os.getpid(), int(ray.address.rpartition(":")[2])
        started = processes.start_time(pid) or ""
        own = str(directory)
        record = LocalRay(ray.address, port, pid, started, own, own, own, variables=tuple(environment))
        directory.mkdir(exist_ok=True)
        (directory / local.RECORD).write_text(json.dumps(asdict(record)))
        until_done.callback((directory / local.RECORD).unlink)
        return record

    stage.environment.setattr(local, "up", up)


SETS = {"postgresql": on_postgresql, "ray-cluster": on_a_cluster, "external-models": on_a_local_ray}
"""What a guide needs around it."""


@pytest.mark.parametrize(
    "guide", [path for path in GUIDES if path.parent != QUICKSTART], ids=lambda path: path.parent.name
)
def test_a_guide_prints_what_it_shows(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    directory = tmp_path / guide.parent.name
    left_out = shutil.ignore_patterns("*.md", "*.db", "mlruns", ".lac")
    shutil.copytree(guide.parent, directory, ignore=left_out)
    clear_environment(monkeypatch)
    monkeypatch.chdir(directory)
    stage = Stage(directory, monkeypatch, varying=VARYING)
    text = guide.read_text()
    walk, heading, reference = text.partition(REFERENCE)
    with ExitStack() as until_done:
        SETS.get(guide.parent.name, on_sqlite)(stage, until_done)
        result = BLOCK.sub(stage.play, walk) + heading + reference
    if request.config.getoption("--update"):
        guide.write_text(result)
    else:
        assert result == text


# the quickstart


@pytest.mark.own_ray
def test_the_first_command_does_what_the_pages_show(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The whole main job, on a Ray of its own; README, the guide and the picture show what it prints."""
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment |= {"PYTHONWARNINGS": "ignore", "TERM": "xterm-256color"}
    directory = tmp_path / "quickstart"
    lac = [sys.executable, "-m", "lifecycle_as_code", "-C", str(directory)]
    try:
        process = subprocess.run(
            [sys.executable, str(QUICKSTART / "run.py"), str(directory)],
            stdout=subprocess.PIPE,
            # one stream, as on a terminal
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            timeout=900,
            check=False,
        )
        assert process.returncode == 0, process.stdout[-6000:]
    finally:
        subprocess.run([*lac, "down"], env=environment, check=False, capture_output=True)
    outputs = read_outputs(process.stdout)
    assert outputs[-1][1][0].startswith("HTTP 200")
    terminal = run_on_terminal([*lac, "show", str(directory / "promotion.plan")], COLUMNS, environment)
    picture = draw_svg(terminal, "lac plan", COLUMNS)
    for page in (ROOT / "README.md", QUICKSTART / "README.md"):
        text = page.read_text()
        walk, heading, reference = text.partition(REFERENCE)
        result = CONSOLE.sub(lambda block: show_again(block[1], outputs), walk) + heading + reference
        if request.config.getoption("--update"):
            page.write_text(result)
        else:
            assert result == text
    # what is free is wrapped where its number is long
    drawn, kept = (
        [line for text in read_svg(svg) if (line := settle(text).rstrip(" ,…").lstrip())]
        for svg in (picture, PICTURE.read_text())
    )
    if not request.config.getoption("--update"):
        assert drawn == kept, f"{PICTURE} shows another plan: `--update` draws it again"
    elif drawn != kept:
        PICTURE.write_text(picture)


def test_the_python_example_plans_applies_and_finds_no_drift(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_databases(tmp_path)
    (tmp_path / "lac.yaml").write_text("name: payments\nstore: sqlite:///mlflow.db\n")
    (tmp_path / "models.yaml").write_text("registered_models: [{name: fraud}]\n")
    [script] = re.findall(r"```python\n(.*?)```", (QUICKSTART / "README.md").read_text(), re.S)
    exec(script.replace("examples/quickstart", str(tmp_path)), {})
    first, *events, drift = capsys.readouterr().out.splitlines()
    assert first == "registered_model.fraud create declared"
    assert "Finished" in events[-1]
    assert drift == "()"


LEFT_OUT = "…"
"""Stands in a block for the paragraphs that it leaves out."""

Output = tuple[str, list[str]]
"""A command, and the paragraphs that it printed."""


def read_outputs(text: str) -> list[Output]:
    """Each `$ command` of a console; lines of progress, whose number is chance, are left out."""
    outputs = []
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        # a heading of run.py's own comes after what a command printed
        lines = takewhile(lambda line: not line.startswith("== "), output.splitlines())
        rest = "\n".join(line.rstrip() for line in lines if not line.startswith("  … "))
        outputs.append((command, [paragraph for paragraph in rest.strip().split("\n\n") if paragraph]))
    return outputs


def show_again(block: str, outputs: list[Output]) -> str:
    """The block with each paragraph as it is printed now; unchanged where only chance differs."""
    parts = []
    for command, paragraphs in read_outputs(block):
        candidates = [output for name, output in outputs if name == command]
        assert candidates, f"run.py doesn't run `{command}`"
        output = max(candidates, key=lambda each: sum(likeness(p, each)[0] for p in paragraphs))
        excerpt = [p if p == LEFT_OUT else likeness(p, output)[1] for p in paragraphs]
        parts.append(f"$ {command}\n" + "\n\n".join(excerpt))
    return "```console\n" + "\n\n".join(parts) + "\n```"


def likeness(paragraph: str, output: list[str]) -> tuple[float, str]:
    """How similar the closest paragraph of the output is, and which it is: the given paragraph itself, where
    only chance differs."""

    def ratio(other: str) -> float:
        return difflib.SequenceMatcher(None, settle(paragraph), settle(other), autojunk=False).ratio()

    closest = max(output, key=ratio, default="")
    return ratio(closest), paragraph if settle(closest) == settle(paragraph) else closest


def settle(text: str) -> str:
    """Without what is chance, or differs from one run or machine to the next."""
    text = re.sub(r"served entity \w+, version \d", "served entity", text)
    text = re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d UTC)?|\b[0-9a-f]{8}\b", "…", text)
    text = re.sub(r"(…  \w+ +\w+  )\S+|(FINISHED, by )[^\s,]+", r"\1\2who", text)
    text = re.sub(r"^( *(?:made by|size) ).*$", r"\1…", text, flags=re.M)
    text = re.sub(r"\S*\bm-[0-9a-f…]+\S*|\b[\d.]+ CPUs free", "…", text)
    return re.sub(r"\S*?(?=mlruns|runs/1|quickstart/mlruns)", "", text)
