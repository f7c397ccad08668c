"""`lifecycle:`, `moved:`, `removed:`, `import:` in manifests: what is read, and each wrong form's place."""

from __future__ import annotations

from typing import Any

import pytest
from support.manifests import Problems, Read

from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.snapshot import Lifecycle
from lifecycle_as_code.model.spec import Address

FRAUD = Address("registered_model", ("fraud",))
FRAUDS = Address("registered_model", ("frauds",))


def place(at: Any) -> str:
    return f"{at.file}:{at.line}:{at.column}"


# --- lifecycle

LIFECYCLES: dict[str, tuple[str, dict[str, Lifecycle]]] = {
    "a mark": (
        "registered_models:\n  - {name: fraud, lifecycle: {prevent_destroy: true}}\n",
        {"registered_model.fraud": Lifecycle(True)},
    ),
    "no mark": (
        "registered_models:\n  - {name: fraud, lifecycle: {prevent_destroy: false}}\n",
        {"registered_model.fraud": Lifecycle(False)},
    ),
    "nothing in it": (
        "registered_models:\n  - {name: fraud, lifecycle: {}}\n",
        {"registered_model.fraud": Lifecycle()},
    ),
    "fields, whole and by key": (
        "registered_models:\n"
        "  - name: fraud\n"
        "    lifecycle: {ignore_changes: [description, tags.team, tags.a.b]}\n",
        {"registered_model.fraud": Lifecycle(None, ("description", "tags.team", "tags.a.b"))},
    ),
    "of nested objects": (
        "registered_models:\n"
        "  - name: fraud\n"
        "    versions:\n"
        "      - version: 1\n"
        "        source: s3://m/1\n"
        "        lifecycle: {prevent_destroy: true, ignore_changes: [stage]}\n"
        "    permissions:\n"
        "      - {role: analysts, level: READ, lifecycle: {prevent_destroy: true}}\n",
        {
            "model_version.fraud/1": Lifecycle(True, ("stage",)),
            "permission.analysts/registered_model/fraud": Lifecycle(True),
        },
    ),
    "of an endpoint": (
        "serving_endpoints:\n"
        "  - name: api\n"
        "    lifecycle: {ignore_changes: [served_entities]}\n"
        "    served_entities: [{name: m, entity_name: fraud, entity_version: 1}]\n",
        {"serving_endpoint.api": Lifecycle(None, ("served_entities",))},
    ),
    "with templates": (
        "registered_models:\n"
        "  - name: fraud\n"
        '    lifecycle: {prevent_destroy: "{{ var.keep }}", ignore_changes: ["{{ var.field }}"]}\n',
        {"registered_model.fraud": Lifecycle(True, ("description",))},
    ),
    "through an anchor": (
        "x-keep: &keep {prevent_destroy: true}\n"
        "registered_models:\n  - {name: a, lifecycle: *keep}\n  - {name: b, lifecycle: *keep}\n",
        {"registered_model.a": Lifecycle(True), "registered_model.b": Lifecycle(True)},
    ),
}

SETTINGS = "name: payments\nvariables: {keep: true, field: description, name: fraud}\n"


@pytest.mark.parametrize(("text", "expected"), LIFECYCLES.values(), ids=LIFECYCLES)
def test_a_lifecycle_is_read_beside_an_objects_own_fields(
    read: Read, text: str, expected: dict[str, Lifecycle]
) -> None:
    found = read({"lac.yaml": SETTINGS, "m.yaml": text}).desired
    assert {str(address): said for address, said in found.lifecycles.items()} == expected
    assert {str(address) for address in found.objects} >= expected.keys()


def model(lifecycle: str) -> str:
    return f"registered_models:\n  - name: fraud\n    lifecycle: {lifecycle}\n"


WRONG_LIFECYCLES: dict[str, tuple[str, str]] = {
    "no mapping": (model("true"), "3:16 bad-value"),
    "nothing": (model(""), "3:15 bad-value"),
    "a list": (model("[prevent_destroy]"), "3:16 bad-value"),
    "an unknown key": (model("{prevent_destory: true}"), "3:17 unknown-field"),
    "no boolean": (model("{prevent_destroy: 1}"), "3:34 bad-value"),
    "text for a boolean": (model('{prevent_destroy: "true"}'), "3:34 bad-value"),
    "one field instead of a list": (model("{ignore_changes: description}"), "3:33 bad-value"),
    "a number for a field": (model("{ignore_changes: [1]}"), "3:34 quote-it"),
    "an unknown field": (model("{ignore_changes: [descripton]}"), "3:34 unknown-field"),
    "the second of two": (model("{ignore_changes: [description, nope]}"), "3:47 unknown-field"),
    "a field of the name": (model("{ignore_changes: [name]}"), "3:34 unknown-field"),
    "a key of what has none": (model("{ignore_changes: [description.en]}"), "3:34 unknown-field"),
    "an empty key": (model("{ignore_changes: [tags.]}"), "3:34 unknown-field"),
    "nothing at all": (model('{ignore_changes: [""]}'), "3:34 unknown-field"),
    "nested objects": (model("{ignore_changes: [versions]}"), "3:34 unknown-field"),
    "what planning fills in": (
        "model_versions:\n"
        "  - {model: fraud, version: 1, source: s3://m, lifecycle: {ignore_changes: [storage_location]}}\n",
        "2:77 unknown-field",
    ),
    "a part of a list": (
        "serving_endpoints:\n"
        "  - name: api\n"
        "    lifecycle: {ignore_changes: [served_entities.m]}\n"
        "    served_entities: [{name: m, entity_name: fraud, entity_version: 1}]\n",
        "3:34 unknown-field",
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG_LIFECYCLES.values(), ids=WRONG_LIFECYCLES)
def test_a_wrong_lifecycle_is_told_at_its_place(problems: Problems, text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_a_mistyped_field_is_guessed(errors: Any) -> None:
    found: tuple[Diagnostic, ...] = errors({"m.yaml": model("{ignore_changes: [descripton]}")})
    assert "did you mean `description`?" in found[0].hint


# --- blocks about other objects

DECLARED = "registered_models:\n  - name: fraud\n"


def test_blocks_are_read_with_their_places(read: Read) -> None:
    text = (
        DECLARED
        + "moved:\n  - from: registered_model.frauds\n    to: registered_model.fraud\n"
        + "removed:\n  - from: model_alias.churn/champion\n"
        + "import:\n  - to: registered_model.fraud\n"
    )
    found = read({"m.yaml": text}).desired
    assert [(m.before, m.after, place(m.at)) for m in found.moves] == [(FRAUDS, FRAUD, "m.yaml:4:5")]
    assert {str(a): place(at) for a, at in found.removals.items()} == {
        "model_alias.churn/champion": "m.yaml:7:5"
    }
    assert {str(a): place(at) for a, at in found.imports.items()} == {"registered_model.fraud": "m.yaml:9:5"}


def test_blocks_of_all_files_count(read: Read) -> None:
    found = read(
        {
            "a.yaml": DECLARED,
            "b.yaml": "moved:\n  - {from: registered_model.frauds, to: registered_model.fraud}\n",
            "c.yaml.j2": "removed:\n"
            "{% for n in range(2) %}\n  - from: registered_model.m{{ n }}\n{% endfor %}\n",
        }
    ).desired
    assert [m.before for m in found.moves] == [FRAUDS]
    assert {str(a) for a in found.removals} == {"registered_model.m0", "registered_model.m1"}


def test_blocks_take_templates(read: Read) -> None:
    text = DECLARED + 'import:\n  - to: "registered_model.{{ var.name }}"\n'
    assert [*read({"lac.yaml": SETTINGS, "m.yaml": text}).desired.imports] == [FRAUD]


def test_a_lifecycle_in_a_template_file_has_its_own_line(errors: Any) -> None:
    item = "  - name: {{ n }}\n    lifecycle: {nope: 1}\n"
    text = "registered_models:\n{% for n in ['a'] %}\n" + item + "{% endfor %}\n"
    (found,) = errors({"m.yaml.j2": text})
    assert (found.code, found.at.file, found.at.line) == ("unknown-field", "m.yaml.j2", 4)


WRONG_BLOCKS: dict[str, tuple[str, list[str]]] = {
    "no list": (DECLARED + "moved: {from: a, to: b}\n", ["3:8 bad-value"]),
    "no mapping": (DECLARED + "moved:\n  - registered_model.fraud\n", ["4:5 bad-value"]),
    "an unknown key": (
        DECLARED + "removed:\n  - {from: registered_model.x, destroy: false}\n",
        ["4:32 unknown-field"],
    ),
    "without `to`": (DECLARED + "moved:\n  - from: registered_model.frauds\n", ["4:5 missing-field"]),
    "without `from`": (DECLARED + "removed:\n  - {}\n", ["4:5 missing-field"]),
    "no text": (DECLARED + "import:\n  - to: 3\n", ["4:9 quote-it"]),
    "no address": (DECLARED + "import:\n  - to: fraud\n", ["4:9 bad-value"]),
    "an unknown kind": (DECLARED + "removed:\n  - from: model.fraud\n", ["4:11 bad-value"]),
    "too few parts": (DECLARED + "removed:\n  - from: model_version.fraud\n", ["4:11 bad-value"]),
    "no number": (DECLARED + "removed:\n  - from: model_version.fraud/one\n", ["4:11 bad-value"]),
    "both ends wrong": (DECLARED + "moved:\n  - {from: a, to: b}\n", ["4:12 bad-value", "4:19 bad-value"]),
    "removed, and declared": (
        DECLARED + "removed:\n  - from: registered_model.fraud\n",
        ["4:5 contradiction"],
    ),
    "imported, and not declared": (
        DECLARED + "import:\n  - to: registered_model.frauds\n",
        ["4:5 contradiction"],
    ),
    "a mistyped section": (DECLARED + "move:\n  - from: a\n", ["3:1 unknown-section"]),
}


@pytest.mark.parametrize(("text", "expected"), WRONG_BLOCKS.values(), ids=WRONG_BLOCKS)
def test_a_wrong_block_is_told_at_its_place(problems: Problems, text: str, expected: list[str]) -> None:
    assert problems(text) == expected
