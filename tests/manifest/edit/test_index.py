"""Where in a manifest each field of an object stands."""

from __future__ import annotations

import pytest

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.manifest.edit import places_of
from lifecycle_as_code.model.diagnostics import Source
from lifecycle_as_code.model.diff import Path

SPECS = {name: kind.spec for name, kind in KINDS.items()}
TEXT = """\
registered_models:
  - name: fraud
    tags: {team: risk}
    aliases:
      champion: 3
serving_endpoints:
  - name: fraud
    served_entities:
      - name: one
        entity_name: fraud
        entity_version: "3"
      - {name: two, entity_name: fraud, entity_version: "@champion"}
"""


@pytest.mark.parametrize(
    ("kind", "at", "path", "found"),
    [
        ("registered_model", (2, 5), ("tags", "team"), (3, 18)),
        ("registered_model", (2, 5), ("tags", "other"), (3, 11)),
        ("registered_model", (2, 5), ("description",), (2, 5)),
        ("model_alias", (5, 7), ("version",), (5, 17)),
        ("serving_endpoint", (7, 5), ("served_entities", "one", "entity_version"), (11, 25)),
        ("serving_endpoint", (7, 5), ("served_entities", "two", "entity_version"), (12, 57)),
        ("serving_endpoint", (7, 5), ("served_entities", "three"), (9, 7)),
    ],
)
def test_a_field_has_the_place_of_its_value_or_of_what_it_belongs_to(
    kind: str, at: tuple[int, int], path: Path, found: tuple[int, int]
) -> None:
    places = places_of([path], Source("m.yaml", *at), TEXT, SPECS[kind], SPECS)
    assert places == {path: Source("m.yaml", *found)}


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [("m.yaml.j2", TEXT, 2), ("m.yaml", TEXT, 99), ("m.yaml", "a: [", 2), ("m.yaml", "", 2)],
    ids=["a template", "no such line", "not YAML", "empty"],
)
def test_where_nothing_can_be_told_nothing_is(file: str, text: str, line: int) -> None:
    assert places_of([("tags",)], Source(file, line, 5), text, SPECS["registered_model"], SPECS) == {}
