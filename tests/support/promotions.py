"""A stack with models to promote: the manifests, awkward ones among them, and the registry."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.spec import Spec
from support.bench import Bench, converge
from support.mlflow_fixture import fresh_sqlite

MODEL = "registered_models:\n  - name: fraud\n"
DECLARED = MODEL + "    aliases:\n      champion: 3\n      challenger: 4\n"

AWKWARD: dict[str, tuple[dict[str, str], str, str]] = {
    "comments everywhere": (
        {
            "m.yaml": "# champion: 3\n\nregistered_models:  # all\n  # the first\n  - name: fraud  # cards\n"
            "    # champion: 3\n    aliases:   # who serves\n      # since May\n"
            "      champion:   3   # was: 2, champion: 3\n      # next\n      challenger: 4\n# end\n"
        },
        "      champion:   3   # was: 2, champion: 3\n",
        "      champion:   4   # was: 2, champion: 3\n",
    ),
    "anchors and merge keys": (
        {
            "m.yaml": "x-base: &base\n  tags: {team: risk}\n  description: &d Scores.\nregistered_models:\n"
            "  - &fraud\n    <<: *base\n    name: fraud\n    aliases: &a\n      champion: &c 3\n"
            "      challenger: 4\n  - {<<: *base, name: churn, description: *d}\n"
        },
        "      champion: &c 3\n",
        "      champion: &c 4\n",
    ),
    "all on one line": (
        {
            "m.yaml": "{registered_models: [{name: churn, aliases: {champion: 1}}, "
            "{name: fraud, aliases: {champion: 3, challenger: 4}}]}\n"
        },
        "{registered_models: [{name: churn, aliases: {champion: 1}}, "
        "{name: fraud, aliases: {champion: 3, challenger: 4}}]}\n",
        "{registered_models: [{name: churn, aliases: {champion: 1}}, "
        "{name: fraud, aliases: {champion: 4, challenger: 4}}]}\n",
    ),
    "brackets over many lines": (
        {
            "m.yaml": 'registered_models: [\n  {\n    "name": "fraud",  # cards\n    "aliases": {\n'
            '      "champion"  :  3  ,  # so\n      "challenger": 4,\n    },\n  },\n]\n'
        },
        '      "champion"  :  3  ,  # so\n',
        '      "champion"  :  4  ,  # so\n',
    ),
    "lines that end as on Windows": (
        {
            "m.yaml": (MODEL + "    aliases:\n      champion: 3 # x\n      challenger: 4\n").replace(
                "\n", "\r\n"
            )
        },
        "      champion: 3 # x\r\n",
        "      champion: 4 # x\r\n",
    ),
    "a byte order mark": (
        {"m.yaml": "\ufeff" + MODEL + "    aliases: {champion: 3, challenger: 4}\n"},
        "    aliases: {champion: 3, challenger: 4}\n",
        "    aliases: {champion: 4, challenger: 4}\n",
    ),
    "strings over many lines": (
        {
            "m.yaml": MODEL
            + '    description: "It says\n\n      champion: 3\n      \\\n      and more"\n'
            "    tags:\n      a: 'x\n        y'\n      b: plain\n        words: no\n".replace(
                "words: no", "words"
            )
            + "    aliases:\n      champion: 3\n      challenger: 4\n"
        },
        "      champion: 3\n",
        "      champion: 4\n",
    ),
    "blocks of text": (
        {
            "m.yaml": MODEL + "    description: |2-\n        aliases:\n          champion: 3\n\n"
            "      # no comment\n    aliases:\n      champion: 3\n      challenger: 4\n"
            "    tags:\n      note: >+\n        folded\n        champion: 3\n\n"
        },
        "      champion: 3\n",
        "      champion: 4\n",
    ),
    "no end of the last line": (
        {"m.yaml": MODEL + "    aliases:\n      challenger: 4\n      champion: 3"},
        "      champion: 3",
        "      champion: 4",
    ),
    "tabs and blanks behind values": (
        {
            "m.yaml": MODEL
            + "    aliases: \t\n      champion:\t3\t #\tsince\tMay \t\n      challenger: 4  \n\n\n"
        },
        "      champion:\t3\t #\tsince\tMay \t\n",
        "      champion:\t4\t #\tsince\tMay \t\n",
    ),
    "other scripts": (
        {
            "m.yaml": MODEL + "    description: 不正検知 🦊 – “ü”\n    tags: {チーム: リスク}  # 説明\n"
            "    aliases:\n      champion: 3  # 王者 🏆\n      challenger: 4\n"
        },
        "      champion: 3  # 王者 🏆\n",
        "      champion: 4  # 王者 🏆\n",
    ),
    "quoted keys": (
        {
            "m.yaml": "'registered_models':\n- \"name\": 'fraud'\n  'aliases':\n"
            "    \"champion\": 3\n    'challenger': 4\n"
        },
        '    "champion": 3\n',
        '    "champion": 4\n',
    ),
    "a section of its own": (
        {
            "m.yaml": MODEL + "    aliases: {challenger: 4}\n",
            "promotions/fraud.yml": "# approved by the risk team\nmodel_aliases:\n"
            "- model: churn\n  alias: champion\n  version: 1\n"
            "- version: 3   # here\n  alias: champion\n  model: fraud\n",
        },
        "- version: 3   # here\n",
        "- version: 4   # here\n",
    ),
    "a section of its own, in braces": (
        {
            "m.yaml": "model_aliases:\n  - {model: fraud, alias: champion, version: 3}  # 3\n"
            "  - {model: fraud, alias: challenger, version: 4}\n"
        },
        "  - {model: fraud, alias: champion, version: 3}  # 3\n",
        "  - {model: fraud, alias: champion, version: 4}  # 3\n",
    ),
    "models in several files": (
        {
            "a/churn.yaml": "registered_models:\n  - name: churn\n    aliases: {champion: 1}\n",
            "b/fraud.yaml": MODEL + "    aliases:\n      challenger: 4\n      champion: 3\n",
            "c/endpoints.yaml": "# champion: 3\n",
        },
        "      champion: 3\n",
        "      champion: 4\n",
    ),
    "marks of a document": (
        {
            "m.yaml": "%YAML 1.1\n--- # begins\n" + MODEL + "    aliases:\n      champion: 3\n"
            "      challenger: 4\n... # ended\n"
        },
        "      champion: 3\n",
        "      champion: 4\n",
    ),
    "sections for nobody": (
        {
            "m.yaml": "x-notes:\n  registered_models:\n    - name: fraud\n      aliases: {champion: 3}\n"
            + MODEL
            + "    aliases:\n      champion: 3 # this one\n      challenger: 4\n"
        },
        "      champion: 3 # this one\n",
        "      champion: 4 # this one\n",
    ),
    "the same words in strings": (
        {
            "m.yaml": MODEL + "    description: 'aliases: {champion: 3}'\n"
            '    tags: {champion: "3", note: "champion: 3"}\n    aliases: {challenger: 4, champion: 3}\n'
        },
        "    aliases: {challenger: 4, champion: 3}\n",
        "    aliases: {challenger: 4, champion: 4}\n",
    ),
    "a very long line": (
        {
            "m.yaml": MODEL
            + f"    description: {'word ' * 900}end\n"
            + f"    aliases: {{challenger: 4,{' ' * 3000}champion: 3}} # {'x' * 900}\n"
        },
        f"    aliases: {{challenger: 4,{' ' * 3000}champion: 3}} # {'x' * 900}\n",
        f"    aliases: {{challenger: 4,{' ' * 3000}champion: 4}} # {'x' * 900}\n",
    ),
    "four blanks a level": (
        {
            "m.yaml": "registered_models:\n    -\n        name: fraud\n        tags:\n"
            "                team: risk\n        aliases:\n"
            "            champion: 3\n            challenger: 4\n"
        },
        "            champion: 3\n",
        "            champion: 4\n",
    ),
    "lists below their key": (
        {
            "m.yaml": "registered_models:\n- aliases:\n    champion:\n      3\n    challenger: 4\n"
            "  name: fraud\n- name: churn\n"
        },
        "      3\n",
        "      4\n",
    ),
    "a key in long form": (
        {"m.yaml": MODEL + "    ? aliases\n    : ? champion\n      : 3\n      challenger: 4\n"},
        "      : 3\n",
        "      : 4\n",
    ),
    "templates all around": (
        {
            "m.yaml": MODEL + '    description: "{{ var.three }} of champion: 3"\n'
            "    aliases: {shadow: '{{ var.three }}', champion: 3, challenger: 4}\n"
        },
        "    aliases: {shadow: '{{ var.three }}', champion: 3, challenger: 4}\n",
        "    aliases: {shadow: '{{ var.three }}', champion: 4, challenger: 4}\n",
    ),
}
"""For each: the files, the line of the alias, and that line once it is promoted."""

RUNS = {1: "a" * 32, 2: "b" * 32, 3: "b" * 32, 4: "d" * 32}
"""Versions of `fraud`, and the runs that made them."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry with two models: `fraud` has four versions, `champion` is 3 and `challenger` 4. Nobody's are
    the versions, as a training pipeline leaves them, and the aliases `stray` and `churn@challenger`."""
    directory = tmp_path_factory.mktemp("store")
    specs: list[Spec] = [RegisteredModel(name="fraud"), RegisteredModel(name="churn")]
    specs += [ModelVersion(model="fraud", version=v, source=f"s3://m/{v}") for v in RUNS]
    specs += [ModelVersion(model="churn", version=1, source="s3://c/1")]
    specs += [
        ModelAlias(model="fraud", alias=a, version=v) for a, v in {"champion": 3, "challenger": 4}.items()
    ]
    bench = Bench(directory, fresh_sqlite(directory))
    stack = bench.stack(specs, name="payments")
    converge(stack)
    stack.forget([spec.address for spec in specs if isinstance(spec, ModelVersion)])
    with closing(sqlite3.connect(bench.store.removeprefix("sqlite:///"))) as db, db:
        made_by = "UPDATE model_versions SET run_id = ? WHERE version = ? AND name = 'fraud'"
        db.executemany(made_by, [(made_by, version) for version, made_by in RUNS.items()])
        aliases = [("stray", 1, "fraud"), ("challenger", 1, "churn")]
        db.executemany("INSERT INTO registered_model_aliases VALUES (?, ?, ?, 'default')", aliases)
    return bench.store


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack without manifests, in which the command runs."""
    (tmp_path / "lac.yaml").write_text(f'name: payments\nstore: "{store}"\nvariables: {{three: 3}}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path
