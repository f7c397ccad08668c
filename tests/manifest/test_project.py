"""lac.yaml: environments, connections and variables, and what may be wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.manifests import Read
from support.sample_kinds import SPECS

from lifecycle_as_code.manifest.load import load
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError

Errors = Callable[..., tuple[Diagnostic, ...]]

PROJECT = """\
name: payments
store: sqlite:///mlflow.db
serve: local
workspace: risk
variables: {threshold: 0.9, team: risk, size: 3, ready: true, names: [a], owner: {name: Ada}}
environments:
  dev: {}
  bare:
  prod:
    store: "{{ env.STORE }}"
    auth_store: "postgresql://lac:{{ env.PASSWORD }}@db/{{ environment }}"
    serve: "{{ env.RAY }}"
    workspace: "{{ var.team }}-prod"
    variables: {team: payments}
  cluster:
    serve:
      address: http://head:8265
      token: "{{ env.TOKEN }}"
      data_address: http://head:8000
      runtime_env: {pip: [scikit-learn==1.5.0], env_vars: {KEY: "{{ env.KEY }}", TEAM: "{{ var.team }}"}}
  unserved: {serve: none}
"""
ENVIRON = {
    "STORE": "postgresql://lac:hunter2@db/mlflow",
    "PASSWORD": "hunter2",
    "RAY": "https://u:hunter2@head",
}


def test_the_least_that_a_stack_needs(read: Read) -> None:
    settings = read({}).settings
    assert settings.name == "payments"
    assert settings.environment is None
    assert settings.store.value == "sqlite:///mlflow.db"
    assert settings.workspace == "default"
    assert settings.default_permission == "READ"
    assert settings.auth_store is None
    assert settings.serve is None
    assert settings.usage_store is None
    assert settings.directory == Path.cwd()


def test_a_local_ray_has_a_usage_store_unless_another_is_named(read: Read) -> None:
    local = read({"lac.yaml": "name: payments\nserve: local\n"}).settings.usage_store
    assert local
    assert local.value == "sqlite:///.lac/usage.db"


@pytest.mark.parametrize("environment", [None, "dev", "bare"])
def test_an_environment_says_only_what_differs(environment: str | None, read: Read) -> None:
    settings = read({"lac.yaml": PROJECT}, environment=environment).settings
    assert settings.store.value == "sqlite:///mlflow.db"
    assert settings.serve
    assert settings.serve.local
    assert settings.workspace == "risk"
    assert settings.variables["team"] == "risk"


@pytest.mark.parametrize(
    ("environment", "expected"), [(None, "NO_PERMISSIONS"), ("open", "EDIT"), ("same", "NO_PERMISSIONS")]
)
def test_what_mlflow_gives_without_a_grant(environment: str | None, expected: str, read: Read) -> None:
    environments = "environments: {open: {default_permission: EDIT}, same: }"
    text = f"name: a\ndefault_permission: NO_PERMISSIONS\n{environments}"
    assert read({"lac.yaml": text}, environment=environment).settings.default_permission == expected


@pytest.mark.parametrize(("environment", "expected"), [(None, 20), ("far", 90)])
def test_how_long_models_files_may_take(environment: str | None, expected: float, read: Read) -> None:
    text = "name: a\nenvironments: {far: {evidence: {seconds: 90}}}"
    assert read({"lac.yaml": text}, environment=environment).settings.evidence_seconds == expected


def test_connections_may_come_from_the_environment(read: Read) -> None:
    settings = read({"lac.yaml": PROJECT}, environment="prod", environ=ENVIRON).settings
    assert settings.store.value == "postgresql://lac:hunter2@db/mlflow"
    assert settings.store.reference == "{{ env.STORE }}"
    assert settings.auth_store
    assert settings.auth_store.value == "postgresql://lac:hunter2@db/prod"
    assert settings.auth_store.reference is None
    assert settings.serve
    assert settings.serve.address == "https://u:hunter2@head"
    assert not settings.serve.local
    assert settings.workspace == "payments-prod"


def test_no_repr_shows_a_secret(read: Read) -> None:
    manifest = read({"lac.yaml": PROJECT}, environment="prod", environ=ENVIRON)
    assert "hunter2" not in f"{manifest!r} {manifest.settings!r} {manifest.settings.store}"


def test_a_cluster_with_a_token(read: Read) -> None:
    serve = read({"lac.yaml": PROJECT}, environment="cluster", environ={"TOKEN": "hunter2"}).settings.serve
    assert serve
    assert (serve.address, serve.token, serve.data_address) == (
        "http://head:8265",
        "hunter2",
        "http://head:8000",
    )
    # references go to the cluster as they are
    assert serve.runtime_env == {
        "pip": ["scikit-learn==1.5.0"],
        "env_vars": {"KEY": "{{ env.KEY }}", "TEAM": "risk"},
    }
    assert "hunter2" not in repr(serve)


def test_a_stack_may_serve_nothing(read: Read) -> None:
    assert read({"lac.yaml": PROJECT}, environment="unserved").settings.serve is None


def test_only_the_chosen_environment_s_variables_must_be_set(read: Read, errors: Errors) -> None:
    read({"lac.yaml": PROJECT}, environment="dev")
    found = errors({"lac.yaml": PROJECT}, environment="prod", environ={"STORE": "x"})
    assert [(d.code, d.at.line) for d in found if d.at] == [("env-not-set", 11), ("env-not-set", 12)]
    assert "`PASSWORD`" in found[0].detail


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("name: Payments", "1:7 bad-value", "`Payments` is not a valid stack name"),
        ("name: 3", "1:7 quote-it", "quote it"),
        ("store: x", "1:1 missing-field", "needs `name`"),
        ("", "1:1 missing-field", "needs `name`"),
        ("- a", "1:1 missing-field", "needs `name`"),
        ("name: a\nstroe: x", "2:1 unknown-field", "did you mean `store`?"),
        ("name: a\nregistered_models: []", "2:1 unknown-field", "other files, listed under `include`"),
        ("name: a\ninclude: models", "2:10 bad-value", "expected a list"),
        ("name: a\ninclude: [1]", "2:11 quote-it", "quote it"),
        ("name: a\nstore: ''", "2:8 bad-value", "`store` is empty"),
        ("name: a\nstore: '{{ var.x }}'", "2:8 undefined-name", "declare it under `variables`"),
        ("name: a\nstore: '{{ 1 + 1 }}'", "2:8 bad-value", "expected text"),
        ("name: a\nworkspace: '{{ env.X }}'", "2:12 env-not-allowed", "use a variable"),
        ("name: a\ndefault_permission: DENY", "2:21 bad-value", "`NO_PERMISSIONS`"),
        ("name: a\nevidence: {seconds: 0}", "2:21 bad-value", "`evidence.seconds`"),
        ("name: a\ndefault_permission: read", "2:21 bad-value", "`READ`"),
        ("name: a\nlocal: {metrics_port: 80}", "2:23 bad-value", ""),
        ("name: a\nsecrets: {a: sk-canary}", "2:14 bad-value", ""),
        ("name: a\nsecrets: {a: {b: sk-canary}}", "2:18 bad-value", ""),
        ("name: a\nsecrets: {a: {b: {value: sk-canary}}}", "2:19 unknown-field", "holds no secret"),
        ("name: a\nsecrets: {a: {b: {file: sk-canary}}}", "2:18 bad-value", ""),
        ("name: a\nsecrets: {a: {b: {env: sk-canary}}}", "2:24 bad-value", ""),
        ("name: a\nsecrets: {a: {b: {command: sk-canary}}}", "2:28 bad-value", ""),
        ("name: a\nsecrets: {a: {b: {command: [get, 1]}}}", "2:34 quote-it", ""),
        ("name: a\nsecrets: {a: {b: {}}}", "2:18 bad-value", ""),
        (
            "name: a\nsecrets: {a: {b: {command: [curl, 'https://u:canary@h']}}}",
            "2:18 bad-value",
            "`command` contains an address with a password",
        ),
        ("name: a\nsecrets: {a: {b: {env: '{{ env.CANARY }}'}}}", "2:24 env-not-allowed", ""),
        ("name: a\nstore: '{{secrets/a/b}}'", "2:8 secret-not-allowed", "below `external_model`"),
        ("name: a\nserve: ftp://head", "2:8 bad-value", "`local`, `none` or an address"),
        ("name: a\nserve: {token: x}", "2:8 missing-field", "needs `address`"),
        ("name: a\nserve: {address: head}", "2:18 bad-value", "an address such as"),
        ("name: a\nserve: off", "2:8 quote-it", "`off`"),
        ("name: a\nenvironments: {default: {}}", "2:16 bad-value", "rename it"),
        ("name: a\nenvironments: {p: {stoer: x}}", "2:20 unknown-field", "did you mean `store`?"),
        ("name: a\nenvironments: {p: {name: x}}", "2:20 unknown-field", "`name` is not a field"),
        ("name: a\nvariables: {x: '{{ environment }}'}", "2:16 bad-value", "contain a template"),
        ("name: a\nvariables: {x: 1.10}", "2:16 quote-it", "or write `1.1` for the number"),
        ("name: a\nvariables: {x: no}", "2:16 quote-it", 'quote it: "no"'),
        ("name: a\nvariables: {a-b: c}", "2:13 bad-value", "letters, digits, `_`"),
        ("name: a\nvariables: {x: }", "2:16 variable-not-set", "LAC_VAR_x"),
        ("name: a\nserve: {address: http://h, runtime_env: {x: '{{ env.Y }}'}}", "2:45 env-not-allowed", ""),
        ("name: a\nserve: {address: http://h, runtime_env: {env_vars: {x: 1}}}", "2:56 quote-it", "quote it"),
    ],
)
def test_what_may_be_wrong_in_lac_yaml(text: str, place: str, says: str, errors: Errors) -> None:
    (found,) = errors({"lac.yaml": text})
    assert found.at
    assert f"{found.at.line}:{found.at.column} {found.code}" == place
    assert says in f"{found.detail} {found.hint}"
    assert "canary" not in found.detail
    # in lac's words, not in those of the library that checks types
    assert not re.search("Input|Value error|String should", found.detail)


def test_the_place_of_a_secret_may_depend_on_variables(read: Read) -> None:
    source = "{command: [vault, '{{ var.v }}', '{{ environment }}']}"
    text = f"name: a\nvariables: {{v: kv}}\nsecrets: {{a: {{b: {source}}}}}"
    assert read({"lac.yaml": text}).settings.secrets == {"a/b": {"command": ["vault", "kv", "default"]}}


def test_an_environment_that_is_not_declared(errors: Errors) -> None:
    (found,) = errors({"lac.yaml": PROJECT}, environment="prd")
    assert (found.code, found.hint) == ("unknown-environment", "did you mean `prod`?")


def test_a_directory_without_lac_yaml(tmp_path: Path) -> None:
    with pytest.raises(LacError) as caught:
        load(tmp_path, SPECS, environ={})
    assert caught.value.diagnostics[0].code == "no-lac-yaml"


FILE = {"prod.vars.yaml": "team: file\nsize: 5\n", "later.vars.yaml": "size: 6\n"}


@pytest.mark.parametrize(
    ("options", "team", "size"),
    [
        ({}, "risk", 3),
        ({"environment": "prod", "environ": ENVIRON}, "payments", 3),
        ({"environment": "prod", "environ": {**ENVIRON, "LAC_VAR_team": "environ"}}, "environ", 3),
        ({"environ": {"LAC_VAR_team": "environ"}, "var_files": ["prod.vars.yaml"]}, "file", 5),
        ({"var_files": ["prod.vars.yaml", "later.vars.yaml"]}, "file", 6),
        ({"var_files": ["prod.vars.yaml"], "variables": {"team": "option", "size": "7"}}, "option", 7),
        ({"environ": {"LAC_VAR_nobody": "x"}}, "risk", 3),
    ],
    ids=["default", "environment", "LAC_VAR", "var-file", "var-files", "var", "undeclared"],
)
def test_what_is_said_later_wins(options: dict[str, Any], team: str, size: int, read: Read) -> None:
    variables = read({"lac.yaml": PROJECT, **FILE}, **options).settings.variables
    assert (variables["team"], variables["size"]) == (team, size)


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ({"size": "12"}, "size", 12),
        ({"threshold": "1"}, "threshold", 1.0),
        ({"ready": "false"}, "ready", False),
        ({"team": "3"}, "team", "3"),
        ({"team": "no"}, "team", "no"),
        ({"names": "[b, c]"}, "names", ["b", "c"]),
        ({"owner": "{name: Bob}"}, "owner", {"name": "Bob"}),
    ],
)
def test_text_from_outside_is_read_as_the_default_s_sort(
    given: dict[str, str], name: str, expected: Any, read: Read
) -> None:
    found = read({"lac.yaml": PROJECT}, variables=given).settings.variables[name]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"size": "many"}, "`size`, set by --var size, must be a whole number"),
        ({"size": "1.5"}, "a whole number"),
        ({"ready": "yes"}, "`true` or `false`"),
        ({"threshold": "high"}, "a number"),
        ({"names": "a"}, "a list"),
        ({"names": "["}, "a list"),
        ({"owner": "[]"}, "a mapping"),
        ({"tema": "x"}, "did you mean `team`?"),
    ],
)
def test_text_that_does_not_fit_the_variable(given: dict[str, str], says: str, errors: Errors) -> None:
    (found,) = errors({"lac.yaml": PROJECT}, variables=given)
    assert says in f"{found.detail} {found.hint}"


def test_a_variable_without_a_default_is_set_from_outside(read: Read) -> None:
    project = {"lac.yaml": "name: a\nvariables: {team: }"}
    assert read(project, variables={"team": "risk"}).settings.variables == {"team": "risk"}


@pytest.mark.parametrize(
    ("text", "code", "severity"),
    [
        ("tema: x", "unknown-variable", "warning"),
        ("size: x", "bad-value", "error"),
        ("size: 0755", "quote-it", "error"),
        ("- a", "bad-value", "error"),
        ("a: b: c", "yaml-syntax", "error"),
    ],
)
def test_a_variable_file_with_problems(
    text: str, code: str, severity: str, read: Read, errors: Errors
) -> None:
    files = {"lac.yaml": PROJECT, "x.vars.yaml": text}
    if severity == "warning":
        found = read(files, var_files=["x.vars.yaml"]).desired.warnings[-1]
    else:
        (found,) = errors(files, var_files=["x.vars.yaml"])
    assert (found.code, found.severity) == (code, severity)
    assert found.at
    assert found.at.file == "x.vars.yaml"


def test_a_variable_file_that_is_not_there(errors: Errors) -> None:
    (found,) = errors({}, var_files=["nowhere.yaml"])
    assert (found.code, found.detail) == ("unreadable-file", "`nowhere.yaml`: No such file or directory.")


@pytest.mark.parametrize("listen", ["8443", "0.0.0.0", "http://a:8443", "0.0.0.0:8443 mode http", "*:x"])
def test_a_local_ray_listens_on_an_address_and_a_port(listen: str, read: Read) -> None:
    text = "name: a\nserve: local\nlocal: {{listen: '{}', tls_cert: c.pem, tls_key: k.pem}}\n"
    local = read({"lac.yaml": text.format("[::]:8443")}).settings.local
    assert local is not None
    assert local.listen == "[::]:8443"
    with pytest.raises(LacError) as raised:
        read({"lac.yaml": text.format(listen)})
    assert [problem.code for problem in raised.value.diagnostics] == ["bad-value"]
