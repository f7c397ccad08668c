"""Sections and sugar to objects, claims and places; every problem at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.manifests import Problems, Read
from support.sample_kinds import SPECS, ModelVersion, RegisteredModel

from lifecycle_as_code.manifest.bind import Binder
from lifecycle_as_code.manifest.load import load
from lifecycle_as_code.manifest.templates import Renderer, TreeRenderer, has_template
from lifecycle_as_code.manifest.write import write
from lifecycle_as_code.manifest.yaml.reader import parse
from lifecycle_as_code.manifest.yaml.report import Report
from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.spec import Address

Errors = Callable[..., tuple[Diagnostic, ...]]

FRAUD = """\
registered_models:
  - name: fraud
    description: Scores card payments.
    tags: {team: risk}
    versions:
      - version: 3
        source: runs:/4f0c/model
    aliases: {champion: 3, challenger: 4}
    permissions:
      - {role: analysts, level: READ}
"""
ENDPOINT = """\
serving_endpoints:
  - name: fraud
    served_entities:
      - {name: champion, entity_name: fraud, entity_version: "@champion", min_replicas: 1}
      - {name: challenger, entity_name: fraud, entity_version: 4}
    traffic_config:
      routes:
        - {served_entity_name: champion, traffic_percentage: 90}
        - {served_entity_name: challenger, traffic_percentage: 10}
"""
UNFOLDED = """\
registered_models: [{name: fraud, description: Scores card payments., tags: {team: risk}}]
model_versions: [{model: fraud, version: 3, source: runs:/4f0c/model}]
model_aliases: [{model: fraud, alias: champion, version: 3}, {model: fraud, alias: challenger, version: 4}]
permissions: [{role: analysts, resource_type: registered_model, resource: fraud, level: READ}]
"""


def test_sugar_unfolds_to_objects_with_places(read: Read) -> None:
    desired = read({"models/fraud.yaml": FRAUD, "endpoints/fraud.yaml": ENDPOINT}).desired
    assert {str(address): str(place) for address, place in desired.places.items()} == {
        "serving_endpoint.fraud": "endpoints/fraud.yaml:2:5",
        "registered_model.fraud": "models/fraud.yaml:2:5",
        "model_version.fraud/3": "models/fraud.yaml:6:9",
        "model_alias.fraud/champion": "models/fraud.yaml:8:15",
        "model_alias.fraud/challenger": "models/fraud.yaml:8:28",
        "permission.analysts/registered_model/fraud": "models/fraud.yaml:10:9",
    }
    assert desired.objects.keys() == desired.places.keys()
    endpoint = desired.objects[Address("serving_endpoint", ("fraud",))]
    assert endpoint.served_entities[0].entity_version == "@champion"
    assert endpoint.traffic_config.routes[1].traffic_percentage == 10


def test_sugar_says_what_sections_say(read: Read) -> None:
    nested = read({"m.yaml": FRAUD}).desired
    apart = read({"m.yaml": UNFOLDED}).desired
    assert nested.objects == apart.objects
    assert nested.scopes
    assert not apart.scopes


@pytest.mark.parametrize(
    ("written", "exclusive"),
    [
        ("permissions: []", False),
        ("permissions: [], exclusive: roles", False),
        ("permissions: [{role: r, level: USE}], exclusive: all", True),
        ("exclusive: all, permissions: []", True),
    ],
)
def test_a_list_of_permissions_claims_its_resource(written: str, exclusive: bool, read: Read) -> None:
    scopes = read({"m.yaml": f"registered_models: [{{name: fraud, {written}}}]"}).desired.scopes
    claim = scopes[Address("registered_model", ("fraud",))]
    assert claim.exclusive is exclusive
    assert claim.at
    assert claim.at.column == 35 + (16 if written.startswith("exclusive") else 0)


def test_what_lists_no_permissions_claims_nothing(read: Read) -> None:
    assert not read({"m.yaml": "registered_models: [{name: fraud}]"}).desired.scopes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registered_modles: []", ["1:1 unknown-section"]),
        ("store: x", ["1:1 unknown-section"]),
        ("- name: fraud", ["1:1 not-a-mapping"]),
        ("text", ["1:1 not-a-mapping"]),
        ("registered_models: {fraud: {}}", ["1:20 bad-value"]),
        ("registered_models: fraud", ["1:20 bad-value"]),
        ("registered_models: [fraud]", ["1:21 bad-value"]),
        ("registered_models: [{nam: a}]", ["1:22 unknown-field", "1:21 missing-field"]),
        ("registered_models: [{name: a, permissions: }]", ["1:44 bad-value"]),
        ("registered_models: [{name: a, exclusive: all}]", ["1:31 bad-value"]),
        ("registered_models: [{name: a, exclusive: al, permissions: []}]", ["1:42 bad-value"]),
        ("registered_models: [{name: a, aliases: [champion]}]", ["1:40 bad-value"]),
        ("registered_models: [{name: a, aliases: {champion: three}}]", ["1:51 bad-value"]),
        ("registered_models: [{name: a, aliases: {1.10: 3}}]", ["1:41 quote-it"]),
        ("registered_models: [{name: a, versions: {version: 1}}]", ["1:41 bad-value"]),
        ("registered_models: [{name: a, versions: [{version: 1}]}]", ["1:42 missing-field"]),
        (
            "registered_models: [{name: a, versions: [{model: b, version: 1, source: s}]}]",
            ["1:43 unknown-field"],
        ),
        ("model_versions: [{model: a, version: 1, source: s, storage_location: x}]", ["1:52 unknown-field"]),
        ("model_aliases: [{model: a, alias: b, version: 1, permissions: []}]", ["1:50 unknown-field"]),
    ],
)
def test_what_may_be_wrong_and_where(text: str, expected: list[str], problems: Problems) -> None:
    assert sorted(problems(text)) == sorted(expected)


@pytest.mark.parametrize(
    "text", ["", "# nothing", "registered_models:", "registered_models: []", "x-mine: {a: b}"]
)
def test_what_declares_nothing_is_fine(text: str, read: Read) -> None:
    assert not read({"m.yaml": text}).desired.objects


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("registered_modles: []", "did you mean `registered_models`?"),
        ("store: x", "settings stand in lac.yaml"),
        ("registered_models: [{name: a, aliasses: {}}]", "did you mean `aliases`?"),
        (
            "registered_models: [{name: a, versions: [{version: 1, sorce: s, source: s}]}]",
            "did you mean `source`?",
        ),
        ("registered_models: [{name: a, permission: []}]", "did you mean `permissions`?"),
        (
            ENDPOINT.replace("traffic_percentage: 10", "traffic_percentage: 10, percent: 1"),
            "known: served_en",
        ),
        (ENDPOINT.replace("min_replicas", "min_replica"), "did you mean `min_replicas`?"),
    ],
)
def test_did_you_mean(text: str, hint: str, errors: Errors) -> None:
    assert hint in errors({"m.yaml": text})[0].hint


@pytest.mark.parametrize(
    ("second", "place"),
    [
        ("registered_models: [{name: fraud}]", "b.yaml:1:21"),
        ("model_aliases: [{model: fraud, alias: champion, version: 2}]", "b.yaml:1:17"),
        ("registered_models: [{name: x, permissions: []}, {name: fraud, aliases: {}}]", "b.yaml:1:49"),
        (
            "permissions: [{role: analysts, resource_type: registered_model, resource: fraud, level: USE}]",
            "b.yaml:1:15",
        ),
    ],
)
def test_declared_twice_names_both_places(second: str, place: str, errors: Errors) -> None:
    (found,) = errors({"a.yaml": FRAUD, "b.yaml": second})
    assert (found.code, str(found.at)) == ("declared-twice", place)
    assert "a.yaml:" in found.detail


FOREIGN = {
    "docker-compose.yaml": (
        "version: '3.8'\nvolumes: {data: {}}\nservices: {web: {image: 'x:{{ tag }}'}}\n",
        "1:1 unknown-section",
    ),
    "conda.yaml": (
        "name: env\nchannels: [conda-forge]\ndependencies: [python=3.11]\n",
        "1:1 unknown-section",
    ),
    "x.yaml": ("x-a: 1\nb: 2\nc: 3\n", "2:1 unknown-section"),
    "playbook.yml": ("- hosts: all\n  roles: []\n", "1:1 not-a-mapping"),
    "deployment.yaml": ("kind: Service\n---\nkind: Deployment\n", "2:1 several-documents"),
    "template.yaml": ("Resources:\n  A: !Ref B\n  C: !Ref D\n", "2:6 tag-refused"),
    "chart.yaml.j2": ("a: {{ x }}\nb: {{ y }}\n", "1:1 undefined-name"),
}


@pytest.mark.parametrize(("name", "text", "told"), [(n, *f) for n, f in FOREIGN.items()], ids=FOREIGN)
def test_another_programs_file_is_told_once_with_the_way_out(
    name: str, text: str, told: str, errors: Errors
) -> None:
    (found,) = errors({name: text, "m.yaml": "registered_models: [{name: a}]"})
    assert f"{found.at} {found.code}" == f"{name}:{told}"
    assert "`include:`" in found.hint
    assert "did you mean" not in found.hint


def test_a_file_with_a_section_of_ours_or_nearly_so_has_all_its_problems_told(problems: Problems) -> None:
    assert len(problems("registered_models: []\nversion: 1\nservices: 2\n")) == 2
    assert len(problems("registered_modles: []\nversion: 1\n")) == 2


def test_all_problems_come_at_once_in_file_order(errors: Errors) -> None:
    files = {
        "b.yaml": "registered_models:\n  - {name: a, x: y}\n  - {description: no}\n",
        "a.yaml": "model_versions:\n  - {model: a, version: 0, source: 1.10}\nunknown: []\n",
        "c.yaml": "a: b: c",
        "d.yaml.j2": "{{ var.x }}",
    }
    assert [f"{d.at} {d.code}" for d in errors(files)] == [
        "a.yaml:2:25 bad-value",
        "a.yaml:2:36 quote-it",
        "a.yaml:3:1 unknown-section",
        "b.yaml:2:15 unknown-field",
        "b.yaml:3:5 missing-field",
        "b.yaml:3:19 quote-it",
        "c.yaml:1:5 yaml-syntax",
        "d.yaml.j2:1:1 undefined-name",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "registered_models: [{name: a, tags: {" + ", ".join(f"k{i}: {i}" for i in range(100_000)) + "}}]",
        "registered_models:\n" + "  - {nme: a}\n" * 100_000,
        "model_aliases:\n" + "  - {model: m, alias: A, version: 0}\n" * 60_000,
    ],
    ids=["values", "items", "rules"],
)
def test_tens_of_thousands_of_problems_are_not_all_shown(text: str, errors: Errors) -> None:
    found = errors({"m.yaml": text})
    assert found[-1].code == "more-problems"
    assert len(found) == 1_001


def test_a_broken_item_s_sugar_is_checked_too(problems: Problems) -> None:
    text = "registered_models:\n  - nme: a\n    versions: [{version: one, source: s}]\n    aliases: {A: 1}\n"
    assert problems(text) == ["2:5 unknown-field", "2:5 missing-field", "3:26 bad-value", "4:15 bad-value"]


def test_merged_defaults_are_fields_like_any_other(read: Read, problems: Problems) -> None:
    text = (
        "x-defaults: &defaults {tags: {team: risk}, description: Ours.}\n"
        "registered_models:\n  - {<<: *defaults, name: a}\n  - {name: b, <<: *defaults, description: B}\n"
    )
    a, b = read({"m.yaml": text}).desired.objects.values()
    assert (a.tags, a.description) == ({"team": "risk"}, "Ours.")
    assert (b.tags, b.description) == ({"team": "risk"}, "B")
    # a problem in what is merged stands where it is written
    assert problems(text.replace("tags:", "tgs:")) == ["1:24 unknown-field"]


def test_the_order_of_files_and_sections_means_nothing(read: Read) -> None:
    one = read({"lac.yaml": "name: a\ninclude: ['a*', 'b*']", "a.yaml": FRAUD, "b.yaml": ENDPOINT}).desired
    other = read({"lac.yaml": "name: a\ninclude: ['a*', 'b*']", "b.yaml": FRAUD, "a.yaml": ENDPOINT}).desired
    assert one.objects == other.objects


NAMES = sorted({spec.section for spec in SPECS.values()} | {"name", "versions", "aliases", "permissions"})
NAMES += ["version", "source", "tags", "served_entities", "traffic_config", "routes", "environment_vars"]
NAMES += ["exclusive", "role", "level", "model", "alias", "entity_version", "x", "resource", "stage"]
SCALARS = st.sampled_from(
    ["a", "A/b", "1", 1, 0, -1, 1.5, True, None, "{{ var.x }}", "{{ env.X }}", "{{", ""]
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=25,
)
ITEMS = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.dictionaries(st.sampled_from(NAMES), TREES), max_size=3) | TREES
)


@settings(max_examples=100, deadline=None)
@given(ITEMS)
def test_whatever_is_written_ends_in_objects_or_in_problems_with_places(tree: object) -> None:
    report = Report("m.yaml")
    root = parse(yaml.safe_dump(tree).encode(), report)
    TreeRenderer(Renderer({"x": 1}, "prod"), report).render(root)
    binder = Binder(SPECS)
    binder.file(root, report)
    assert all(problem.at and problem.at.line > 0 for problem in report.problems)
    assert binder.objects.keys() == binder.places.keys()
    assert binder.scopes.keys() <= binder.objects.keys()


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
        st.text("{}%#a1.no e:-"),
        max_size=3,
    ),
)
def test_what_is_written_down_reads_back(name: str, description: str, tags: dict[str, str]) -> None:
    """`write` and reading are each other's opposite, for any text that a database stores."""
    # no manifest can have such a key, and import leaves it out
    assume(not any(has_template(key) for key in tags))
    model = RegisteredModel(name=name, description=description, tags=tags)
    version = ModelVersion(model=name, version=1, source="s")
    report = Report("m.yaml")
    root = parse(write([model, version], SPECS).encode(), report)
    TreeRenderer(Renderer({}, "prod"), report).render(root)
    binder = Binder(SPECS)
    binder.file(root, report)
    assert not report.problems
    assert list(binder.objects.values()) == [model, version]


def test_a_stack_is_read_from_elsewhere(read: Read) -> None:
    read({"infra/lac.yaml": "name: a", "infra/m.yaml": FRAUD})
    manifest = load("infra", SPECS, environ={})
    assert manifest.files == ("infra/m.yaml",)
    assert manifest.settings.directory == Path.cwd() / "infra"
    assert str(manifest.desired.places[Address("registered_model", ("fraud",))]) == "infra/m.yaml:2:5"
