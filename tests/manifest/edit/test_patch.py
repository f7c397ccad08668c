"""Manifests edited in place: what changes, line by line, and that nothing else does."""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.odd_texts import ODD
from support.sample_kinds import SPECS as TOYS
from support.sample_kinds import Route, TrafficConfig

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.manifest.edit import rewrite
from lifecycle_as_code.manifest.edit.verify import differ as differs
from lifecycle_as_code.manifest.edit.verify import differences
from lifecycle_as_code.manifest.load import Manifest, load
from lifecycle_as_code.manifest.write import write
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.snapshot import Desired
from lifecycle_as_code.model.spec import Address, Spec, parse_address

SPECS = {name: kind.spec for name, kind in KINDS.items()}
PROJECT = """\
name: payments
auth_store: sqlite:///auth.db
include: ["*.yaml", "*.yaml.j2"]
variables: {three: 3, team: risk, tags: {team: risk}}
"""

Wishes = Mapping[str, Mapping[str, Any] | None]
"""By address: the fields to be set, or None for what is to go."""


@contextmanager
def stack(texts: Mapping[str, str], specs: Mapping[str, type[Spec]] = SPECS) -> Iterator[Manifest]:
    """Files as the real loader reads them, with places by their bare names."""
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        for name, text in {"lac.yaml": PROJECT, **texts}.items():
            Path(name).write_bytes(text.encode())
        yield load(".", specs, environ={})


def loaded(texts: Mapping[str, str], specs: Mapping[str, type[Spec]] = SPECS) -> Desired:
    with stack(texts, specs) as manifest:
        return manifest.desired


def specs_of(wishes: Wishes, desired: Desired) -> dict[Address, Spec | None]:
    wanted: dict[Address, Spec | None] = {}
    for name, fields in wishes.items():
        address = parse_address(name, SPECS)
        held = desired.objects.get(address)
        if fields is None:
            wanted[address] = None
        else:
            values = {**(held.written() if held else {}), **fields}
            wanted[address] = SPECS[address.kind].model_validate(values, strict=False)
    return wanted


def rewritten(texts: Mapping[str, str], wishes: Wishes) -> dict[str, str]:
    """All texts after the edit. Asserts that the loader finds in them exactly what is wanted."""
    return rewritten_for(texts, specs_of(wishes, loaded(texts)))


def rewritten_for(
    texts: Mapping[str, str],
    wanted: Mapping[Address, Spec | None],
    specs: Mapping[str, type[Spec]] = SPECS,
) -> dict[str, str]:
    with stack(texts, specs) as manifest:
        changed = rewrite(manifest, wanted, specs)
        desired = manifest.desired
    assert changed.keys() <= texts.keys()
    assert all(text != texts[file] for file, text in changed.items())
    after = loaded({**texts, **changed}, specs)
    expected = {a: spec for a, spec in {**desired.objects, **wanted}.items() if spec is not None}
    assert after.objects.keys() == expected.keys()
    assert not any(differs(spec, expected[a]) for a, spec in after.objects.items())
    assert {a for a in after.scopes if a in expected} == {a for a in desired.scopes if a in expected}
    return {**texts, **changed}


def changed_lines(before: str, after: str) -> list[str]:
    """The difference, line by line with their ends, `-` and `+` before them."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def differ(before: str, wishes: Wishes) -> list[str]:
    return changed_lines(before, rewritten({"m.yaml": before}, wishes)["m.yaml"])


FRAUD = """\
# Card payments.

registered_models:
  # The first of all.
  - name: fraud   # scores
    description: Scores card payments.
    tags: {team: risk}  # theirs

    versions:
      # trained in May
      - version: 1
        source: s3://m/1
        tags:
          # by hand
          approved: "yes"   # by Ann
          stage: 'two'
      # trained in June
      - version: 2  # best
        source: s3://m/2

      - version: 3
        source: s3://m/3
        description: |  # long
          First.

          Second.
      - version: 4
        source: s3://m/4
        tags:
          a: "1"
          b: "2"
        stage: Staging
    # Promotions only.
    aliases:
      # all traffic
      champion: 3   # since July
      # a tenth
      challenger: 2

  # the other
  - name: churn
    aliases: {champion: 1, shadow: 2}
# the end
"""

CHAMPION = {"model_alias.fraud/champion": {"version": 1}}

VALUES: list[Any] = [
    (
        "an alias of the sugar moves",
        CHAMPION,
        ["-      champion: 3   # since July\n", "+      champion: 1   # since July\n"],
    ),
    (
        "the alias of this name in another model stays",
        {"model_alias.churn/champion": {"version": 2}},
        ["-    aliases: {champion: 1, shadow: 2}\n", "+    aliases: {champion: 2, shadow: 2}\n"],
    ),
    (
        "an alias goes with the comment right above it",
        {"model_alias.fraud/champion": None},
        ["-      # all traffic\n", "-      champion: 3   # since July\n"],
    ),
    (
        "the last alias of a block goes",
        {"model_alias.fraud/challenger": None},
        ["-      # a tenth\n", "-      challenger: 2\n"],
    ),
    (
        "the field goes with its last alias",
        {"model_alias.fraud/challenger": None, "model_alias.fraud/champion": None},
        [
            "-    # Promotions only.\n",
            "-    aliases:\n",
            "-      # all traffic\n",
            "-      champion: 3   # since July\n",
            "-      # a tenth\n",
            "-      challenger: 2\n",
        ],
    ),
    (
        "an alias comes",
        {"model_alias.fraud/shadow": {"model": "fraud", "alias": "shadow", "version": 2}},
        ["+      shadow: 2\n"],
    ),
    (
        "one goes and another comes",
        {
            "model_alias.fraud/challenger": None,
            "model_alias.fraud/no": {"model": "fraud", "alias": "no", "version": 2},
        },
        ["-      # a tenth\n", "-      challenger: 2\n", '+      "no": 2\n'],
    ),
    (
        "the first in braces goes",
        {"model_alias.churn/champion": None},
        ["-    aliases: {champion: 1, shadow: 2}\n", "+    aliases: {shadow: 2}\n"],
    ),
    (
        "the last in braces goes",
        {"model_alias.churn/shadow": None},
        ["-    aliases: {champion: 1, shadow: 2}\n", "+    aliases: {champion: 1}\n"],
    ),
    (
        "all in braces go",
        {"model_alias.churn/shadow": None, "model_alias.churn/champion": None},
        ["-    aliases: {champion: 1, shadow: 2}\n"],
    ),
    (
        "one in braces comes",
        {"model_alias.churn/fresh": {"model": "churn", "alias": "fresh", "version": 3}},
        ["-    aliases: {champion: 1, shadow: 2}\n", "+    aliases: {champion: 1, shadow: 2, fresh: 3}\n"],
    ),
    (
        "all in braces change places",
        {
            "model_alias.churn/shadow": None,
            "model_alias.churn/champion": {"version": 3},
            "model_alias.churn/fresh": {"model": "churn", "alias": "fresh", "version": 3},
        },
        ["-    aliases: {champion: 1, shadow: 2}\n", "+    aliases: {champion: 3, fresh: 3}\n"],
    ),
    (
        "the first version goes",
        {"model_version.fraud/1": None},
        [
            "-      # trained in May\n",
            "-      - version: 1\n",
            "-        source: s3://m/1\n",
            "-        tags:\n",
            "-          # by hand\n",
            '-          approved: "yes"   # by Ann\n',
            "-          stage: 'two'\n",
        ],
    ),
    (
        "a version in the middle goes",
        {"model_version.fraud/2": None},
        ["-      # trained in June\n", "-      - version: 2  # best\n", "-        source: s3://m/2\n"],
    ),
    (
        "a version goes with the block that ends it",
        {"model_version.fraud/3": None},
        [
            "-      - version: 3\n",
            "-        source: s3://m/3\n",
            "-        description: |  # long\n",
            "-          First.\n",
            "-\n",
            "-          Second.\n",
        ],
    ),
    (
        "a version comes after the last",
        {"model_version.fraud/5": {"model": "fraud", "version": 5, "source": "s3://m/5", "tags": {"a": "1"}}},
        [
            "+      - version: 5\n",
            '+        source: "s3://m/5"\n',
            "+        tags:\n",
            '+          a: "1"\n',
        ],
    ),
    (
        "quotes stay as they are",
        {"model_version.fraud/1": {"tags": {"approved": "no", "stage": "it's"}}},
        [
            '-          approved: "yes"   # by Ann\n',
            "-          stage: 'two'\n",
            '+          approved: "no"   # by Ann\n',
            "+          stage: 'it''s'\n",
        ],
    ),
    (
        "single quotes become double ones where they must",
        {"model_version.fraud/1": {"tags": {"approved": "yes", "stage": "a\u2028b"}}},
        ["-          stage: 'two'\n", '+          stage: "a\\Lb"\n'],
    ),
    (
        "a tag goes and another comes",
        {"model_version.fraud/1": {"tags": {"stage": "two", "0755": "1.10"}}},
        [
            "-          # by hand\n",
            '-          approved: "yes"   # by Ann\n',
            '+          "0755": "1.10"\n',
        ],
    ),
    (
        "the field goes with its last tag",
        {"model_version.fraud/1": {"tags": {}}},
        [
            "-        tags:\n",
            "-          # by hand\n",
            '-          approved: "yes"   # by Ann\n',
            "-          stage: 'two'\n",
        ],
    ),
    (
        "tags come to a version that has none",
        {"model_version.fraud/2": {"tags": {"team": "risk"}}},
        ["+        tags:\n", "+          team: risk\n"],
    ),
    (
        "a tag in braces comes",
        {"registered_model.fraud": {"tags": {"team": "risk", "cost centre": "a, b"}}},
        [
            "-    tags: {team: risk}  # theirs\n",
            '+    tags: {team: risk, cost centre: "a, b"}  # theirs\n',
        ],
    ),
    (
        "a tag comes between one that goes and a field that goes",
        {"model_version.fraud/4": {"tags": {"a": "1", "c": "3"}, "stage": "None"}},
        ['-          b: "2"\n', "-        stage: Staging\n", '+          c: "3"\n'],
    ),
    (
        "a text of one line becomes several",
        {"registered_model.fraud": {"description": "One.\n\nTwo: # 2\n"}},
        [
            "-    description: Scores card payments.\n",
            "+    description: |\n",
            "+      One.\n",
            "+\n",
            "+      Two: # 2\n",
        ],
    ),
    (
        "a text of several lines becomes one, and its comment stays",
        {"model_version.fraud/3": {"description": "No more."}},
        [
            "-        description: |  # long\n",
            "-          First.\n",
            "-\n",
            "-          Second.\n",
            '+        description: "No more."  # long\n',
        ],
    ),
    (
        "a block changes inside, and its comment stays",
        {"model_version.fraud/3": {"description": "First.\n\nThird.\n"}},
        ["-          Second.\n", "+          Third.\n"],
    ),
    (
        "a field comes after those that are named before it",
        {"registered_model.churn": {"description": "Leavers"}},
        ["+    description: Leavers\n"],
    ),
    (
        "a field goes",
        {"registered_model.fraud": {"description": ""}},
        ["-    description: Scores card payments.\n"],
    ),
    (
        "a model comes after the last",
        {
            "registered_model.new": {"name": "new"},
            "model_alias.new/champion": {"model": "new", "alias": "champion", "version": 1},
        },
        ["+  - name: new\n", "+    aliases:\n", "+      champion: 1\n"],
    ),
    (
        "a model goes with all that is in it",
        {
            "registered_model.churn": None,
            "model_alias.churn/champion": None,
            "model_alias.churn/shadow": None,
        },
        ["-  # the other\n", "-  - name: churn\n", "-    aliases: {champion: 1, shadow: 2}\n"],
    ),
    (
        "what is so already changes nothing",
        {"model_alias.fraud/champion": {"version": 3}, "model_alias.fraud/absent": None},
        [],
    ),
]


@pytest.mark.parametrize(
    ("wishes", "difference"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES]
)
def test_a_commented_manifest_changes_in_these_lines_only(wishes: Wishes, difference: list[str]) -> None:
    assert differ(FRAUD, wishes) == difference


@pytest.mark.parametrize(
    ("wishes", "difference"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES]
)
def test_windows_line_ends_stay(wishes: Wishes, difference: list[str]) -> None:
    assert differ(FRAUD.replace("\n", "\r\n"), wishes) == [line.replace("\n", "\r\n") for line in difference]


@pytest.mark.parametrize(
    ("wishes", "difference"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES]
)
def test_a_byte_order_mark_and_odd_texts_before_the_place_move_nothing(
    wishes: Wishes, difference: list[str]
) -> None:
    before = "\ufeff--- # 👍🏽 Größe\nx-note: '漢字 \U0001f600'\n" + FRAUD.removesuffix("\n# the end\n")
    assert differ(before + "\n# 👍🏽", wishes) == difference


def alias(model: str, name: str, version: int) -> Wishes:
    return {f"model_alias.{model}/{name}": {"model": model, "alias": name, "version": version}}


PROMOTIONS = """\
model_aliases:
- model: fraud
  alias: champion   # all traffic
  version: 3
-   alias: challenger
    # a tenth
    version: 2
    model: fraud
- {model: churn, alias: champion, version: 1} # one line
"""

ENDPOINT = """\
serving_endpoints:
  - name: fraud
    served_entities:
      - name: champion  # the good one
        entity_name: fraud
        entity_version: "@champion"
      - {name: challenger, entity_name: fraud, entity_version: 2, num_cpus: 0.5}
    traffic_config:
      routes:
        # nine in ten
        - served_entity_name: champion
          traffic_percentage: 90
        - served_entity_name: challenger
          traffic_percentage: 10   # the rest
    auth: none
"""
ENTITIES = [
    {"name": "champion", "entity_name": "fraud", "entity_version": "@champion"},
    {"name": "challenger", "entity_name": "fraud", "entity_version": 2, "num_cpus": 0.5},
]


def shares(**routes: int) -> dict[str, Any]:
    return {"routes": [{"served_entity_name": name, "traffic_percentage": n} for name, n in routes.items()]}


LINES_OF_FLOW = """\
registered_models:
  - {
      name: fraud,  # scores
      aliases: {
        champion: 3,  # all
        challenger: 2  # a tenth
      },
    }
"""

MEMBERS = """\
roles:
  - name: analysts
    members:
      - zoe   # leads
      - "ann"
      - bob
    description: >-
      Those who
      look.
"""

OTHERS: list[Any] = [
    (
        "an alias in a section of its own moves",
        PROMOTIONS,
        alias("fraud", "champion", 1),
        ["-  version: 3\n", "+  version: 1\n"],
    ),
    (
        "in an item on one line too",
        PROMOTIONS,
        alias("churn", "champion", 10),
        [
            "-- {model: churn, alias: champion, version: 1} # one line\n",
            "+- {model: churn, alias: champion, version: 10} # one line\n",
        ],
    ),
    (
        "one comes as the last is written",
        PROMOTIONS,
        alias("fraud", "shadow", 1),
        ["+- {model: fraud, alias: shadow, version: 1}\n"],
    ),
    (
        "the first of a section without indentation goes",
        PROMOTIONS,
        {"model_alias.fraud/champion": None},
        ["-- model: fraud\n", "-  alias: champion   # all traffic\n", "-  version: 3\n"],
    ),
    (
        "the only item of a section goes, and the section says where the next belongs",
        "# Promotions.\nmodel_aliases:  # reviewed\n  # one\n"
        "  - model: fraud\n    alias: a\n    version: 1\n\n# end\n",
        {"model_alias.fraud/a": None},
        [
            "-model_aliases:  # reviewed\n",
            "-  # one\n",
            "-  - model: fraud\n",
            "-    alias: a\n",
            "-    version: 1\n",
            "+model_aliases: []  # reviewed\n",
        ],
    ),
    (
        "and there the next one comes",
        "# Promotions.\nmodel_aliases: []  # reviewed\n\n# end\n",
        alias("fraud", "a", 1),
        [
            "-model_aliases: []  # reviewed\n",
            "+model_aliases: [{model: fraud, alias: a, version: 1}]  # reviewed\n",
        ],
    ),
    (
        "a section that says nothing gets an item",
        "model_aliases: # none yet\n# end\n",
        alias("fraud", "a", 1),
        ["+  - model: fraud\n", "+    alias: a\n", "+    version: 1\n"],
    ),
    (
        "the only item between brackets goes",
        "model_aliases: [{model: fraud, alias: a, version: 1}] # x\n",
        {"model_alias.fraud/a": None},
        ["-model_aliases: [{model: fraud, alias: a, version: 1}] # x\n", "+model_aliases: [] # x\n"],
    ),
    (
        "an item between brackets comes",
        "model_aliases: [{model: fraud, alias: a, version: 1}] # x\n",
        alias("fraud", "b", 1),
        [
            "-model_aliases: [{model: fraud, alias: a, version: 1}] # x\n",
            "+model_aliases: [{model: fraud, alias: a, version: 1}, "
            "{model: fraud, alias: b, version: 1}] # x\n",
        ],
    ),
    (
        "no newline at the end, and a value there",
        "model_aliases:\n  - model: fraud\n    alias: a\n    version: 1",
        alias("fraud", "a", 2),
        ["-    version: 1", "+    version: 2"],
    ),
    (
        "no newline at the end, and the last item goes",
        "model_aliases:\n  - {model: fraud, alias: a, version: 1}\n  - {model: fraud, alias: b, version: 1}",
        {"model_alias.fraud/b": None},
        [
            "-  - {model: fraud, alias: a, version: 1}\n",
            "-  - {model: fraud, alias: b, version: 1}",
            "+  - {model: fraud, alias: a, version: 1}",
        ],
    ),
    (
        "no newline at the end, and an item comes",
        "registered_models:\r\n- name: fraud\r\n  aliases:\r\n    a: 1",
        alias("fraud", "b", 2),
        ["-    a: 1", "+    a: 1\r\n", "+    b: 2"],
    ),
    (
        "a section of its own comes at the end",
        "registered_models: [{name: fraud}]\n# end",
        alias("fraud", "b", 2),
        [
            "-# end",
            "+# end\n",
            "+\n",
            "+model_aliases:\n",
            "+  - model: fraud\n",
            "+    alias: b\n",
            "+    version: 2",
        ],
    ),
    (
        "an empty file gets a section",
        "",
        alias("fraud", "b", 2),
        ["+model_aliases:\n", "+  - model: fraud\n", "+    alias: b\n", "+    version: 2\n"],
    ),
    (
        "new sugar in a block",
        "registered_models:\n    -   name: fraud\n\n# end\n",
        {**alias("fraud", "b", 2), **alias("fraud", "a", 1)},
        ["+        aliases:\n", "+          a: 1\n", "+          b: 2\n"],
    ),
    (
        "tabs in comments",
        "registered_models:\t# a\tb\n  - name: fraud\t# \tc\n    aliases: {a: 1}\t#\td\n",
        alias("fraud", "a", 2),
        ["-    aliases: {a: 1}\t#\td\n", "+    aliases: {a: 2}\t#\td\n"],
    ),
    (
        "long folded texts before and after",
        "registered_models:\n  - name: fraud\n    description: \"a \\\n      # b\n\n      c: 1\"\n"
        "    aliases:\n      champion: 1\n"
        "  - description: >+\n      more\n        - text\n\n\n    name: churn\n",
        alias("fraud", "champion", 2),
        ["-      champion: 1\n", "+      champion: 2\n"],
    ),
    (
        "a line of a quoted text that looks like a comment isn't one",
        "registered_models:\n  - description: \"a\n    # b\"\n    tags: {a: b}\n    name: fraud\n",
        {"registered_model.fraud": {"tags": {}}},
        ["-    tags: {a: b}\n"],
    ),
    (
        "a folded text becomes one line",
        MEMBERS,
        {"role.analysts": {"description": "None"}},
        ["-    description: >-\n", "-      Those who\n", "-      look.\n", '+    description: "None"\n'],
    ),
    (
        "a plain text over two lines is replaced whole",
        "roles:\n  - name: analysts\n    description: Those\n      who look. # c\n",
        {"role.analysts": {"description": "Those"}},
        ["-    description: Those\n", "-      who look. # c\n", "+    description: Those # c\n"],
    ),
    (
        "quoted keys",
        "\"registered_models\":\n  - 'name': \"fraud\"\n    \"aliases\" : { 'champion' : 3 , \"b\":1}\n",
        {**alias("fraud", "champion", 2), "model_alias.fraud/b": None},
        [
            "-    \"aliases\" : { 'champion' : 3 , \"b\":1}\n",
            "+    \"aliases\" : { 'champion' : 2}\n",
        ],
    ),
    (
        "braces over several lines: one comes, on the line of the last",
        LINES_OF_FLOW,
        alias("fraud", "b", 1),
        ["-        challenger: 2  # a tenth\n", "+        challenger: 2, b: 1  # a tenth\n"],
    ),
    (
        "braces over several lines: one goes",
        LINES_OF_FLOW.replace("  # all", ""),
        {"model_alias.fraud/challenger": None},
        [
            "-        champion: 3,\n",
            "-        challenger: 2  # a tenth\n",
            "+        champion: 3  # a tenth\n",
        ],
    ),
    (
        "members come and go",
        MEMBERS,
        {"role.analysts": {"members": ["ann", "zoe", "carl"]}},
        ["-      - bob\n", "+      - carl\n"],
    ),
    (
        "the last members go with their field",
        MEMBERS,
        {"role.analysts": {"members": []}},
        ["-    members:\n", "-      - zoe   # leads\n", '-      - "ann"\n', "-      - bob\n"],
    ),
    (
        "shares of traffic",
        ENDPOINT,
        {"serving_endpoint.fraud": {"traffic_config": shares(champion=50, challenger=50)}},
        [
            "-          traffic_percentage: 90\n",
            "+          traffic_percentage: 50\n",
            "-          traffic_percentage: 10   # the rest\n",
            "+          traffic_percentage: 50   # the rest\n",
        ],
    ),
    (
        "an entity changes inside, the one that follows an alias stays",
        ENDPOINT,
        {"serving_endpoint.fraud": {"served_entities": [ENTITIES[0], {**ENTITIES[1], "entity_version": 4}]}},
        [
            "-      - {name: challenger, entity_name: fraud, entity_version: 2, num_cpus: 0.5}\n",
            "+      - {name: challenger, entity_name: fraud, entity_version: 4, num_cpus: 0.5}\n",
        ],
    ),
    (
        "an alias becomes a number, without the quotes",
        ENDPOINT,
        {"serving_endpoint.fraud": {"served_entities": [{**ENTITIES[0], "entity_version": 4}, ENTITIES[1]]}},
        ['-        entity_version: "@champion"\n', "+        entity_version: 4\n"],
    ),
    (
        "an entity goes with its route",
        ENDPOINT,
        {"serving_endpoint.fraud": {"served_entities": ENTITIES[:1], "traffic_config": {}}},
        [
            "-      - {name: challenger, entity_name: fraud, entity_version: 2, num_cpus: 0.5}\n",
            "-    traffic_config:\n",
            "-      routes:\n",
            "-        # nine in ten\n",
            "-        - served_entity_name: champion\n",
            "-          traffic_percentage: 90\n",
            "-        - served_entity_name: challenger\n",
            "-          traffic_percentage: 10   # the rest\n",
        ],
    ),
    (
        "an entity comes with its route",
        ENDPOINT,
        {
            "serving_endpoint.fraud": {
                "served_entities": [*ENTITIES, {**ENTITIES[0], "name": "third"}],
                "traffic_config": shares(champion=90, challenger=5, third=5),
            }
        },
        [
            "+      - {name: third, entity_name: fraud, entity_version: \"@champion\"}\n",
            "-          traffic_percentage: 10   # the rest\n",
            "+          traffic_percentage: 5   # the rest\n",
            "+        - served_entity_name: third\n",
            "+          traffic_percentage: 5\n",
        ],
    ),
    (
        "traffic that wasn't written comes before what follows it",
        "serving_endpoints:\n  - name: a\n    served_entities:\n"
        "      - {name: b, entity_name: fraud, entity_version: 1}\n    auth: none\n",
        {
            "serving_endpoint.a": {
                "served_entities": [
                    {"name": "b", "entity_name": "fraud", "entity_version": 1},
                    {"name": "c", "entity_name": "fraud", "entity_version": 2},
                ],
                "traffic_config": shares(b=50, c=50),
            }
        },
        [
            "+      - {name: c, entity_name: fraud, entity_version: 2}\n",
            "+    traffic_config:\n",
            "+      routes:\n",
            "+        - served_entity_name: b\n",
            "+          traffic_percentage: 50\n",
            "+        - served_entity_name: c\n",
            "+          traffic_percentage: 50\n",
        ],
    ),
    (
        "a claimed list that loses its last grant still claims",
        "registered_models:\n  - name: fraud\n    permissions:  # all of them\n"
        "      - {role: analysts, level: READ}\n",
        {"permission.analysts/registered_model/fraud": None},
        [
            "-    permissions:  # all of them\n",
            "-      - {role: analysts, level: READ}\n",
            "+    permissions: []  # all of them\n",
        ],
    ),
    (
        "a grant comes into the list that claims",
        "registered_models:\n  - name: fraud\n    permissions: []\n",
        {
            "permission.analysts/registered_model/fraud": {
                "role": "analysts",
                "resource_type": "registered_model",
                "resource": "fraud",
                "level": "EDIT",
            }
        },
        ["-    permissions: []\n", "+    permissions: [{role: analysts, level: EDIT}]\n"],
    ),
    (
        "anchors elsewhere",
        "x-tags: &tags {team: risk}\nregistered_models:\n  - name: fraud\n    tags: *tags\n"
        "    aliases: &unused\n      champion: &n 3\n  - &m\n    name: churn\n    tags: {<<: *tags, a: b}\n",
        {
            **alias("fraud", "champion", 4),
            **alias("fraud", "b", 1),
            "registered_model.churn": {"tags": {"team": "risk", "a": "c"}, "description": "d"},
        },
        [
            "-      champion: &n 3\n",
            "+      champion: &n 4\n",
            "+      b: 1\n",
            "-    tags: {<<: *tags, a: b}\n",
            "+    tags: {<<: *tags, a: c}\n",
            "+    description: d\n",
        ],
    ),
    (
        "an alias of YAML goes with its field",
        "x-tags: &tags {team: risk}\nregistered_models:\n  - name: fraud\n    tags: *tags\n",
        {"registered_model.fraud": {"tags": {}}},
        ["-    tags: *tags\n"],
    ),
    (
        "templates elsewhere, in the same item too",
        "registered_models:\n  - name: fraud\n    description: \"of {{ var.team }}\"\n"
        "    tags: \"{{ var.tags }}\"\n    aliases: {champion: '{{ var.three }}', b: 1}\n    versions:\n"
        "      - {version: '{{ var.three }}', source: 's3://{{ var.team }}/3'}\n",
        {
            **alias("fraud", "b", 3),
            "model_version.fraud/3": {"description": "{{ x"},
            **alias("fraud", "c", 1),
        },
        [
            "-    aliases: {champion: '{{ var.three }}', b: 1}\n",
            "+    aliases: {champion: '{{ var.three }}', b: 3, c: 1}\n",
            "-      - {version: '{{ var.three }}', source: 's3://{{ var.team }}/3'}\n",
            "+      - {version: '{{ var.three }}', source: 's3://{{ var.team }}/3', "
            "description: \"{{ '{{' }} x\"}\n",
        ],
    ),
    (
        "a text with braces is no template",
        "registered_models:\n  - name: fraud\n    description: \"{{ '{{' }} x\"\n",
        {"registered_model.fraud": {"description": "y {% z"}},
        ["-    description: \"{{ '{{' }} x\"\n", "+    description: \"y {{ '{%' }} z\"\n"],
    ),
    (
        "all in one pair of braces",
        '{"registered_models": [{"name": "fraud", "aliases": {"champion": 3}}]}',
        {**alias("fraud", "champion", 1), **alias("fraud", "b", 1)},
        [
            '-{"registered_models": [{"name": "fraud", "aliases": {"champion": 3}}]}',
            '+{"registered_models": [{"name": "fraud", "aliases": {"champion": 1, b: 1}}]}',
        ],
    ),
    (
        "a new section in one pair of braces",
        '{"registered_models": [{"name": "fraud"}]}\n',
        alias("fraud", "b", 1),
        [
            '-{"registered_models": [{"name": "fraud"}]}\n',
            '+{"registered_models": [{"name": "fraud"}], '
            "model_aliases: [{model: fraud, alias: b, version: 1}]}\n",
        ],
    ),
    (
        "a field that says nothing, and one that says so",
        "model_versions:\n  - model: fraud\n    version: 1\n    source: s3://m/1\n    run_id: # none\n"
        "  - {model: fraud, version: 2, source: s3://m/2, run_id: ~, tags: {}} # x\n",
        {
            "model_version.fraud/1": {"run_id": "a" * 32},
            "model_version.fraud/2": {"run_id": "0" * 32, "tags": {"a": "b"}},
        },
        [
            "-    run_id: # none\n",
            "-  - {model: fraud, version: 2, source: s3://m/2, run_id: ~, tags: {}} # x\n",
            f"+    run_id: {'a' * 32} # none\n",
            "+  - {model: fraud, version: 2, source: s3://m/2, "
            f"run_id: \"{'0' * 32}\", tags: {{a: b}}}} # x\n",
        ],
    ),
    (
        "tags that are empty braces",
        "registered_models:\n  - name: fraud\n    tags: {}  # none\n"
        "    description: |+\n      a\n\n    aliases: {a: 1}\n",
        {"registered_model.fraud": {"tags": {"a": "b"}, "description": "c"}},
        [
            "-    tags: {}  # none\n",
            "-    description: |+\n",
            "-      a\n",
            "-\n",
            "+    tags: {a: b}  # none\n",
            "+    description: c\n",
        ],
    ),
    (
        "an end of the document",
        "---\nregistered_models:\n- name: fraud\n  aliases:\n    a: 1\n...\n# end\n",
        {**alias("fraud", "a", 2), **alias("fraud", "b", 1)},
        ["-    a: 1\n", "+    a: 2\n", "+    b: 1\n"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "wishes", "difference"), [row[1:] for row in OTHERS], ids=[row[0] for row in OTHERS]
)
def test_an_awkward_manifest_changes_in_these_lines_only(
    before: str, wishes: Wishes, difference: list[str]
) -> None:
    assert differ(before, wishes) == difference


def test_an_entity_with_another_name_is_another_entity() -> None:
    before = (
        "serving_endpoints:\n  - name: a\n    served_entities:\n"
        "      - {name: b, entity_name: fraud, entity_version: '{{ var.three }}'}  # x\n    auth: none\n"
    )
    assert differ(before, {"serving_endpoint.a": {"served_entities": [ENTITIES[0]]}}) == [
        "-      - {name: b, entity_name: fraud, entity_version: '{{ var.three }}'}  # x\n",
        '+      - {name: champion, entity_name: fraud, entity_version: "@champion"}\n',
    ]


ORDERED = """\
serving_endpoints:
  - name: a
    served_entities:
      - {name: b, entity_name: m, entity_version: 1}
    traffic_config:
      routes:  # in this order
        # first
        - {served_entity_name: b, traffic_percentage: 60}
        - served_entity_name: c
          traffic_percentage: 40 # rest
    tags: {a: b}
"""


def test_a_list_whose_order_means_something_is_replaced_as_a_whole() -> None:
    before = ORDERED.replace("\n        # first", "").replace(" # rest", "")
    (address, spec) = next(iter(loaded({"m.yaml": before}, TOYS).objects.items()))
    routes = (Route(served_entity_name="b", traffic_percentage=100),)
    wanted = spec.model_copy(update={"traffic_config": TrafficConfig(routes=routes)})
    after = rewritten_for({"m.yaml": before}, {address: wanted}, TOYS)
    assert changed_lines(before, after["m.yaml"]) == [
        "-      routes:  # in this order\n",
        "-        - {served_entity_name: b, traffic_percentage: 60}\n",
        "-        - served_entity_name: c\n",
        "-          traffic_percentage: 40\n",
        "+      routes: [{served_entity_name: b, traffic_percentage: 100}]  # in this order\n",
    ]
    with stack({"m.yaml": ORDERED}, TOYS) as manifest, pytest.raises(LacError, match="contains a comment"):
        rewrite(manifest, {address: wanted}, TOYS)


def test_a_value_of_another_sort() -> None:
    text = (
        "serving_endpoints:\n  - name: a\n    traffic_config:  # none yet\n    served_entities:\n"
        "      - {name: b, entity_name: m, entity_version: 1}\n"
    )
    (address, spec) = next(iter(loaded({"m.yaml": text}, TOYS).objects.items()))
    config = TrafficConfig(routes=(Route(served_entity_name="b", traffic_percentage=100),))
    wanted = spec.model_copy(update={"traffic_config": config})
    after = rewritten_for({"m.yaml": text}, {address: wanted}, TOYS)["m.yaml"]
    assert changed_lines(text, after) == [
        "-    traffic_config:  # none yet\n",
        "+    traffic_config: {routes: [{served_entity_name: b, traffic_percentage: 100}]}  # none yet\n",
    ]


# which file


def written_to(texts: Mapping[str, str], wishes: Wishes) -> dict[str, list[str]]:
    """By file, the lines that come."""
    after = rewritten(texts, wishes)
    return {
        name: [line.removeprefix("+") for line in changed_lines(text, after[name])]
        for name, text in texts.items()
        if text != after[name]
    }


ITEM = ["  - model: fraud\n", "    alias: b\n", "    version: 2\n"]


@pytest.mark.parametrize(
    ("texts", "difference"),
    [
        pytest.param(
            {
                "a.yaml": "model_aliases:\n",
                "m.yaml": "registered_models:\n  - name: fraud\n    aliases: {}\n",
            },
            {"m.yaml": ["-    aliases: {}\n", "    aliases: {b: 2}\n"]},
            id="sugar of its parent that is there",
        ),
        pytest.param(
            {
                "a.yaml": "model_aliases:\n",
                "b.yaml": "model_aliases:\n  - model: fraud\n    alias: a\n    version: 1\n",
                "m.yaml": "registered_models:\n  - name: fraud\nmodel_aliases:\n",
            },
            {"b.yaml": ITEM},
            id="the section with its siblings",
        ),
        pytest.param(
            {"a.yaml": "model_aliases:\n", "m.yaml": "registered_models:\n  - name: fraud\nmodel_aliases:\n"},
            {"m.yaml": ITEM},
            id="the section in its parent's file",
        ),
        pytest.param(
            {"a.yaml": "model_aliases:\n", "m.yaml": "registered_models:\n  - name: fraud\n"},
            {"a.yaml": ITEM},
            id="a section in any file",
        ),
        pytest.param(
            {"a.yaml.j2": "model_aliases:\n", "m.yaml": "registered_models:\n  - name: fraud\n"},
            {"m.yaml": ["    aliases:\n", "      b: 2\n"]},
            id="new sugar rather than a rendered file",
        ),
        pytest.param(
            {"a.yaml": "# nothing\n", "m.yaml": "registered_models:\n  - {name: fraud}\n"},
            {"m.yaml": ["\n", "model_aliases:\n", *ITEM]},
            id="a section in its parent's file where that is in braces",
        ),
        pytest.param(
            {"a.yaml.j2": "", "b.yaml": "# nothing\n", "c.yaml": ""},
            {"b.yaml": ["\n", "model_aliases:\n", *ITEM]},
            id="a section in the first file that can be edited",
        ),
    ],
)
def test_what_is_new_comes_beside_what_is_like_it(
    texts: Mapping[str, str], difference: dict[str, list[str]]
) -> None:
    assert written_to(texts, alias("fraud", "b", 2)) == difference


def test_a_grant_is_never_written_so_that_it_would_claim_all() -> None:
    grant = {"role": "a", "resource_type": "registered_model", "resource": "fraud", "level": "READ"}
    lines = written_to(
        {"m.yaml": "registered_models:\n  - name: fraud\n"},
        {"permission.a/registered_model/fraud": grant},
    )["m.yaml"]
    assert lines[1] == "permissions:\n"


def test_several_files_change_at_once() -> None:
    texts = {"a.yaml": PROMOTIONS, "b.yaml": ENDPOINT}
    lines = written_to(texts, {**alias("fraud", "champion", 1), "serving_endpoint.fraud": {"auth": "basic"}})
    assert lines == {"a.yaml": ["-  version: 3\n", "  version: 1\n"], "b.yaml": ["-    auth: none\n"]}


# what isn't done

MODEL = "registered_models:\n  - name: fraud\n"
REFUSED: list[Any] = [
    (
        "a value that an anchor gives",
        "x-v: &v 3\n" + MODEL + "    aliases:\n      a: *v\n",
        alias("fraud", "a", 1),
        ["m.yaml:5:7 model_alias.fraud/a: its value comes from an anchor."],
    ),
    (
        "a value that others use",
        MODEL + "    aliases:\n      a: &v 3\n      b: *v\n",
        alias("fraud", "a", 1),
        ["m.yaml:4:7 model_alias.fraud/a: it is inside `&v`, which is used elsewhere."],
    ),
    (
        "an item with an anchor that others use",
        MODEL + "    aliases:\n      a: &v 3\n      b: *v\n",
        {"model_alias.fraud/a": None},
        ["m.yaml:4:7 model_alias.fraud/a: it contains `&v`, which is used elsewhere."],
    ),
    (
        "sugar that an anchor gives",
        "x-a: &a {b: 3}\n" + MODEL + "    aliases: *a\n",
        {"model_alias.fraud/b": None},
        ["m.yaml:1:10 model_alias.fraud/b: it comes from an anchor, a merge or a template."],
    ),
    (
        "sugar that an anchor gives is not added to",
        "x-a: &a {b: 3}\n" + MODEL + "    aliases: *a\n",
        alias("fraud", "c", 1),
        ["- model_alias.fraud/c: its value comes from an anchor."],
    ),
    (
        "sugar in an item that is used elsewhere",
        "x-a: &a {description: d}\nregistered_models:\n  - &m\n    name: fraud\n    <<: *a\n"
        "  - {<<: *m, name: churn}\n",
        alias("fraud", "c", 1),
        ["- model_alias.fraud/c: it is inside `&m`, which is used elsewhere."],
    ),
    (
        "sugar that is merged",
        "x-a: &a {b: 3}\n" + MODEL + "    aliases: {<<: *a}\n",
        alias("fraud", "b", 2),
        ["m.yaml:1:10 model_alias.fraud/b: it comes from an anchor, a merge or a template."],
    ),
    (
        "a field that is merged",
        "x-a: &a {description: d}\n" + MODEL + "    <<: *a\n",
        {"registered_model.fraud": {"description": "e"}},
        ["m.yaml:3:5 registered_model.fraud: `description` comes from an anchor or a template."],
    ),
    (
        "a template",
        MODEL + "    aliases: {a: '{{ var.three }}', b: 1}\n",
        {**alias("fraud", "a", 1), **alias("fraud", "b", 2)},
        ["m.yaml:3:15 model_alias.fraud/a: its value is a template."],
    ),
    (
        "a template that gives a mapping",
        MODEL + "    tags: '{{ var.tags }}'\n",
        {"registered_model.fraud": {"tags": {"a": "b"}}},
        ["m.yaml:2:5 registered_model.fraud: its value is a template."],
    ),
    (
        "a model whose versions are to stay",
        MODEL + "    versions: [{version: 1, source: s3://m/1}]\n",
        {"registered_model.fraud": None},
        ["m.yaml:3:16 model_version.fraud/1: the edits of other objects would change it, too."],
    ),
    (
        "a text at the end whose last line would get an end",
        MODEL + "    description: |\n      d",
        alias("fraud", "a", 1),
        ["m.yaml:2:5 registered_model.fraud: the edits of other objects would change it, too."],
    ),
    (
        "a field that shares its line with a dash",
        "registered_models:\n  - description: x\n    name: fraud\n",
        {"registered_model.fraud": {"description": ""}},
        ["m.yaml:2:5 registered_model.fraud: its line has other content."],
    ),
    (
        "braces whose comments would be lost",
        LINES_OF_FLOW,
        {"model_alias.fraud/champion": None},
        ["m.yaml:5:9 model_alias.fraud/champion: its value contains a comment, which would be lost."],
    ),
    (
        "a key in long form",
        "registered_models:\n  - name: fraud\n    ? aliases\n    : {a: 1}\n",
        {"model_alias.fraud/a": None},
        ["m.yaml:4:8 model_alias.fraud/a: its line has other content."],
    ),
]


def refusals(texts: Mapping[str, str], wishes: Wishes) -> list[str]:
    with stack(texts) as manifest, pytest.raises(LacError) as caught:
        rewrite(manifest, specs_of(wishes, manifest.desired), SPECS)
    assert {found.code for found in caught.value.diagnostics} == {"cannot-edit"}
    assert all(found.hint.startswith("edit by hand: ") for found in caught.value.diagnostics)
    return [f"{found.at or '-'} {found.detail}" for found in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("before", "wishes", "told"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_is_not_safe_is_refused(before: str, wishes: Wishes, told: list[str]) -> None:
    assert refusals({"m.yaml": before}, wishes) == told


def test_a_rendered_file_is_refused() -> None:
    texts = {"m.yaml.j2": MODEL + "    aliases: {a: 3}\n"}
    (told,) = refusals(texts, alias("fraud", "a", 1))
    assert told == ("m.yaml.j2:3:15 model_alias.fraud/a: `m.yaml.j2` is a template.")


def test_every_object_that_can_not_be_edited_is_told_with_what_it_should_say() -> None:
    texts = {"m.yaml.j2": MODEL + "    aliases: {a: 3, b: 3}\n    tags: {c: d}\n"}
    wishes = {
        **alias("fraud", "a", 1),
        "model_alias.fraud/b": None,
        "registered_model.fraud": {"tags": {}, "description": "One: two"},
        **alias("fraud", "c", 1),
    }
    with stack(texts) as manifest, pytest.raises(LacError) as caught:
        rewrite(manifest, specs_of(wishes, manifest.desired), SPECS)
    assert [found.hint for found in caught.value.diagnostics] == [
        'edit by hand: set `description: "One: two"` and remove `tags`',
        "edit by hand: set `version: 1`",
        "edit by hand: remove it",
        "edit by hand: set `model: fraud`, `alias: c`, `version: 1`",
    ]


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "a: [", "\0", "a: !!str b\n", ""])
def test_a_text_that_was_changed_since_it_was_read_is_refused(text: str) -> None:
    with stack({"m.yaml": MODEL}) as manifest:
        Path("m.yaml").write_text(text)
        with pytest.raises(LacError) as caught:
            rewrite(manifest, dict.fromkeys(manifest.desired.objects), SPECS)
    assert [found.code for found in caught.value.diagnostics] == ["cannot-edit"]


def test_what_has_no_place_is_refused() -> None:
    with stack({"m.yaml": MODEL}) as manifest:
        unplaced = replace(manifest, desired=replace(manifest.desired, places={}))
        with pytest.raises(LacError, match="place is unknown"):
            rewrite(unplaced, dict.fromkeys(manifest.desired.objects), SPECS)


def test_what_is_read_back_is_compared_with_what_it_should_be() -> None:
    moved = ModelAlias(model="fraud", alias="a", version=1)
    with stack({"m.yaml": MODEL + "    aliases: {a: 3, b: 3}\n    permissions: []\n"}) as manifest:
        found = differences(manifest, {"m.yaml": MODEL + "    aliases: {a: 2}\n"}, {moved.address: moved})
        assert {str(address): why for address, why in found} == {
            "model_alias.fraud/a": "the edited text would not declare the change",
            "model_alias.fraud/b": "the edits of other objects would change it, too",
            "registered_model.fraud": "the claim of its list of permissions would change",
        }
        found = differences(manifest, {"m.yaml": "a: [\n"}, {moved.address: moved})
        ((address, why),) = found
        assert address == moved.address
        assert why.startswith("the edited text can't be read: ")


# any manifest, any change

TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12
) | st.sampled_from(ODD)
LABELS = st.dictionaries(st.sampled_from(["team", "no", "1.10", "a b", "y"]), TEXTS, max_size=3)
NAMES = st.sampled_from(["fraud", "churn", "no", "a b", "0755"])


@st.composite
def worlds(draw: st.DrawFn) -> dict[Address, Spec]:
    """Some models, versions and aliases; the models of some aren't among them."""
    specs: list[Spec] = []
    for name in draw(st.sets(NAMES, min_size=1, max_size=4)):
        if draw(st.integers(0, 3)):
            specs.append(RegisteredModel(name=name, description=draw(TEXTS), tags=draw(LABELS)))
        for number in draw(st.sets(st.integers(1, 4), max_size=3)):
            source = f"s3://m/{number}"
            stage = draw(st.sampled_from(["None", "Staging"]))
            specs.append(
                ModelVersion(
                    model=name,
                    version=number,
                    source=source,
                    description=draw(TEXTS),
                    tags=draw(LABELS),
                    stage=stage,
                )
            )
        aliases = draw(st.sets(st.sampled_from(["champion", "no", "b-1", "7e5"]), max_size=3))
        specs += [ModelAlias(model=name, alias=a, version=draw(st.integers(1, 3))) for a in aliases]
    return {spec.address: spec for spec in specs}


@st.composite
def turns(draw: st.DrawFn) -> tuple[dict[Address, Spec], dict[Address, Spec | None]]:
    """What is declared, and what is wanted: objects of another world, come, gone or as they are there."""
    before, other = draw(worlds().filter(bool)), draw(worlds())
    wanted: dict[Address, Spec | None] = {}
    for address in sorted(before.keys() | other.keys(), key=str):
        if draw(st.booleans()):
            wanted[address] = other.get(address)
    for address in before:
        model = Address("registered_model", address.key[:1])
        if model in before and wanted.get(model, before[model]) is None:
            # what stands in an item can't outlive it
            wanted[address] = None
    return before, wanted


def noted(text: str) -> str:
    """With a comment of its own above each object, which isn't in the object's column."""
    lines = {at.line - 1 for at in loaded({"m.yaml": text}).places.values()}
    parts = re.split(r"(?<=\n)", text)
    return "".join(f"# note {i}\n{part}" if i in lines else part for i, part in enumerate(parts))


CONTAINER = re.compile(r"\s*(registered_models|model_versions|model_aliases|versions|aliases|tags):\s*")


def untouched(text: str, wanted: Mapping[Address, Spec | None]) -> list[str]:
    """The lines that aren't a wanted object's, which begins at its note and ends where the next begins."""
    starts = {at.line - 2: address for address, at in loaded({"m.yaml": text}).places.items()}
    lines: list[str] = []
    current: Address | None = None
    for number, line in enumerate(text.split("\n")):
        current = starts.get(number, current)
        gone = current in wanted and wanted[current] is None
        note = number in starts and not gone
        if note or (current not in wanted and not CONTAINER.fullmatch(line)):
            lines.append(line)
    return lines


@settings(max_examples=30)
@given(turns(), st.sampled_from(["\n", "\r\n"]))
def test_any_manifest_can_come_to_declare_anything(
    turn: tuple[dict[Address, Spec], dict[Address, Spec | None]], newline: str
) -> None:
    before, wanted = turn
    text = noted(write(list(before.values()), SPECS)).replace("\n", newline)
    after = rewritten_for({"m.yaml": text}, wanted)["m.yaml"]
    rest = iter(after.split("\n"))
    assert all(line in rest for line in untouched(text, wanted))
    assert after.count("\r\n") == (after.count("\n") if newline == "\r\n" else 0)


@settings(max_examples=30)
@given(turns(), st.sampled_from([None, 2]), st.booleans())
def test_a_manifest_in_brackets_can_come_to_declare_anything_too(
    turn: tuple[dict[Address, Spec], dict[Address, Spec | None]], indent: int | None, ended: bool
) -> None:
    before, wanted = turn
    data = yaml.safe_load(write(list(before.values()), SPECS))
    text = json.dumps(data, indent=indent, ensure_ascii=False) + "\n" * ended
    # JSON leaves characters as they are that end a line in YAML
    text = "".join(c if c == "\n" or c.isprintable() else f"\\U{ord(c):08X}" for c in text)
    after = rewritten_for({"m.yaml": text}, wanted)["m.yaml"]
    assert after.endswith("\n") == ended
