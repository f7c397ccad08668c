"""Manifests edited in place: what changes, line by line, and that nothing else does."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lifecycle_as_code.diagnostics import LacError
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.manifest.edit import edited
from lifecycle_as_code.manifest.load import load
from lifecycle_as_code.manifest.readback import said
from lifecycle_as_code.snapshot import Desired
from lifecycle_as_code.spec import Address, Spec, parse_address

SPECS = {name: kind.spec for name, kind in KINDS.items()}
PROJECT = """\
name: payments
auth_store: sqlite:///auth.db
include: ["*.yaml", "*.yaml.j2"]
variables: {three: 3, team: risk, tags: {team: risk}}
"""

Wishes = Mapping[str, Mapping[str, Any] | None]
"""By address: the fields to be set, or None for what is to go."""


def loaded(texts: Mapping[str, str]) -> Desired:
    """Files as the real loader reads them, with places by their bare names."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in {"lac.yaml": PROJECT, **texts}.items():
            (Path(directory) / name).write_bytes(text.encode())
        desired = load(directory, SPECS, environ={}).desired
    places = {a: at._replace(file=Path(at.file).name) for a, at in desired.places.items()}
    return Desired(desired.objects, places, desired.scopes)


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
    desired = loaded(texts)
    wanted = specs_of(wishes, desired)
    changed = edited(texts, desired.places, desired.objects, wanted, SPECS)
    assert changed.keys() <= texts.keys()
    assert all(text != texts[file] for file, text in changed.items())
    after = loaded({**texts, **changed})
    expected = {a: spec for a, spec in {**desired.objects, **wanted}.items() if spec is not None}
    assert {a: said(spec) for a, spec in after.objects.items()} == {a: said(s) for a, s in expected.items()}
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
        "the last version goes, with the block that ends it",
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
        {"model_version.fraud/4": {"model": "fraud", "version": 4, "source": "s3://m/4", "tags": {"a": "1"}}},
        [
            "+      - version: 4\n",
            '+        source: "s3://m/4"\n',
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
