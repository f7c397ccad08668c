"""Values and the fields that they stand in: what fits, what needs quotes, and how a misfit is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.manifests import Problems, Read

from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.spec import Address

Errors = Callable[..., tuple[Diagnostic, ...]]

ENTITY = """serving_endpoints:
  - name: e
    served_entities: [{{name: a, entity_name: m, entity_version: 1, {}}}]
"""
DOUBTFUL = ["no", "off", "on", "y", "~", "null", "true", "3", "1.10", "12345e6", "0755", "0000123", "1_000"]
DOUBTFUL += ["12:30:00", "2024-01-01", "0x1F", "0o17", ".5", "=", "-.inf"]


def model(line: str) -> str:
    return f"registered_models:\n  - name: fraud\n    {line}\n"


def entity_of(read: Read, written: str) -> Any:
    desired = read({"m.yaml": ENTITY.format(written)}).desired
    return desired.objects[Address("serving_endpoint", ("e",))].served_entities[0]


@pytest.mark.parametrize("written", DOUBTFUL)
def test_in_a_text_field_a_doubtful_scalar_needs_quotes(
    written: str, problems: Problems, errors: Errors, read: Read
) -> None:
    assert problems(model(f"description: {written}")) == ["3:18 quote-it"]
    assert problems(model(f"tags: {{team: {written}}}")) == ["3:18 quote-it"]
    found = errors({"m.yaml": model(f"description: {written}")})
    assert found[0].hint == f'quote it: "{written}"'
    quoted = read({"m.yaml": model(f'description: "{written}"')}).desired.objects
    assert quoted[Address("registered_model", ("fraud",))].description == written


def test_a_key_of_labels_is_text_too(problems: Problems) -> None:
    assert problems(model("tags: {no: a, 1.10: b, y: c}")) == ["3:12 quote-it", "3:19 quote-it"]


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [
        ("min_replicas: 0", "min_replicas", 0),
        ("num_cpus: 2", "num_cpus", 2.0),
        ("num_cpus: 0.5", "num_cpus", 0.5),
        ("num_cpus: 1e1", "num_cpus", 10.0),
        ("scale_to_zero: true", "scale_to_zero", True),
        ("scale_to_zero: False", "scale_to_zero", False),
        ("environment_vars: {A: b}", "environment_vars", {"A": "b"}),
    ],
)
def test_what_fits(written: str, field: str, value: Any, read: Read) -> None:
    found = getattr(entity_of(read, written), field)
    assert found == value
    assert type(found) is type(value) or isinstance(value, dict)


@pytest.mark.parametrize(
    ("written", "code", "says"),
    [
        ('min_replicas: "1"', "bad-value", "remove the quotes"),
        ("min_replicas: one", "bad-value", "expected a whole number"),
        ("min_replicas: 1.5", "bad-value", "`1.5`"),
        ("min_replicas: 0755", "bad-value", "plain decimals"),
        ("min_replicas: true", "bad-value", "`true`"),
        ("min_replicas: 1_000", "bad-value", "plain decimals"),
        ("min_replicas: 99999999999999999999999999999999999999999999", "bad-value", "a whole number"),
        ("num_cpus: .inf", "bad-value", "expected a number"),
        ("scale_to_zero: yes", "bad-value", "write `true` or `false`"),
        ("scale_to_zero: 1", "bad-value", "expected `true` or `false`"),
        ("min_replicas: [1]", "bad-value", "a list"),
        ("environment_vars: text", "bad-value", "expected a mapping"),
        ("min_replicas: ", "bad-value", "remove the field"),
        ("resolved: x", "unknown-field", "not a field of served entity"),
        ("min_replica: 1", "unknown-field", "did you mean `min_replicas`?"),
    ],
)
def test_what_does_not_fit(written: str, code: str, says: str, errors: Errors) -> None:
    (found,) = errors({"m.yaml": ENTITY.format(written)})
    assert found.code == code
    assert says in f"{found.detail} {found.hint}"


@pytest.mark.parametrize(
    ("written", "value"),
    [("3", 3), ('"@champion"', "@champion"), ("'@3'", "@3"), ('"{{ 1 + 2 }}"', 3)],
)
def test_where_a_number_or_text_may_stand_the_writing_decides(written: str, value: Any, read: Read) -> None:
    text = ENTITY.format("x").replace(", x", "").replace("entity_version: 1", f"entity_version: {written}")
    endpoint = read({"m.yaml": text}).desired.objects[Address("serving_endpoint", ("e",))]
    assert endpoint.served_entities[0].entity_version == value


@pytest.mark.parametrize("written", ["1.10", "no", "~", "2024-01-01"])
def test_what_is_neither_needs_quotes_there(written: str, errors: Errors) -> None:
    text = ENTITY.format("x").replace(", x", "").replace("entity_version: 1", f"entity_version: {written}")
    (found,) = errors({"m.yaml": text})
    assert found.code == "quote-it"


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("0", "`entity_version`: `0` should be greater than or equal to 1."),
        ("champion", "`entity_version`: a version is a number or `@` and an alias."),
        ("[1]", "`entity_version` is a list; expected text or a whole number."),
        ("1.5", "`entity_version`: `1.5` is a number; expected text."),
    ],
)
def test_one_mistake_is_one_problem(written: str, says: str, errors: Errors) -> None:
    text = ENTITY.format("x").replace(", x", "").replace("entity_version: 1", f"entity_version: {written}")
    (found,) = errors({"m.yaml": text})
    assert found.detail == says


def test_a_choice_that_is_mistyped(errors: Errors) -> None:
    text = "permissions: [{role: r, resource_type: registered_model, resource: m, level: REED}]"
    (found,) = errors({"m.yaml": text})
    assert (found.code, found.hint) == ("bad-value", "did you mean `READ`?")


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("model_versions: [{model: m, version: 0, source: s}]", "1:38", "greater than or equal to 1"),
        ("registered_models: [{name: a/b}]", "1:28", "a name can't contain `/`"),
        ("model_aliases: [{model: m, alias: A1, version: 1}]", "1:35", "`A1` should match pattern"),
        ("registered_models: [{name: m, aliases: {A1: 1}}]", "1:41", "should match pattern"),
        ("registered_models: [{name: m, aliases: {champion: 0}}]", "1:51", "greater than or equal to 1"),
        (
            "serving_endpoints: [{name: e, served_entities: [{name: a, entity_name: m, entity_version: 1}],\n"
            "  traffic_config: {routes: [{served_entity_name: a, traffic_percentage: 90}]}}]",
            "2:19",
            "the routes must add up to 100",
        ),
        (
            "serving_endpoints: [{name: e, served_entities: [{name: a, entity_name: m, entity_version: 1}],\n"
            "  traffic_config: {routes: [{served_entity_name: a, traffic_percentage: 101}]}}]",
            "2:73",
            "less than or equal to 100",
        ),
    ],
)
def test_a_spec_s_own_rules_are_told_at_the_value(text: str, place: str, says: str, errors: Errors) -> None:
    (found,) = errors({"m.yaml": text})
    assert found.at
    assert (found.code, f"{found.at.line}:{found.at.column}") == ("bad-value", place)
    assert says in found.detail


@pytest.mark.parametrize(
    "secret",
    ["012345678", "2024-01-01", "[hunter2]", f"'{'hunter2' * 20}'", '"hunter2 {{ env.X }}"', "hunter2: x"],
)
def test_the_value_of_an_environment_variable_is_in_no_problem(secret: str, errors: Errors) -> None:
    found = errors({"m.yaml": ENTITY.format(f"environment_vars: {{KEY: {secret}}}")})
    for word in ("012345678", "2024-01-01", "hunter2"):
        assert word not in "\n".join(map(str, found))


def test_the_example_of_an_error(errors: Errors) -> None:
    text = model("descripton: Scores card payments.") + "  - tags: {team: risk}\n"
    assert "\n".join(map(str, errors({"models/fraud.yaml": text}))) == (
        "models/fraud.yaml:3:5: error[unknown-field]: unknown field\n"
        "  `descripton` is not a field of registered_model.\n"
        "  hint: did you mean `description`?\n"
        "models/fraud.yaml:4:5: error[missing-field]: required field is missing\n"
        "  A registered_model needs `name`.\n"
        "  hint: add `name:`"
    )
