"""`lac.yaml` to Settings: one environment chosen, variables set, templates filled in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from ..model.diagnostics import Diagnostic, LacError, Source, in_file_order, refuse, warnings_in
from ..model.plan import Limits
from ..model.spec import P
from ..serving.references import is_reference, secrets_in
from .convert import read_part, read_untyped
from .placeholders import warn_of_placeholders
from .settings import (
    DEFAULT_PERMISSION,
    NAME,
    Connection,
    DriftFile,
    EvidenceFile,
    GuardsFile,
    LocalFile,
    ProjectFile,
    SecretFile,
    Serve,
    Settings,
)
from .templates import Renderer, TreeRenderer, has_template
from .value_errors import REFUSED, bad_value, describe_error, name_of
from .variables import Variables
from .yaml.nodes import Map, Mark, Seq
from .yaml.reader import parse
from .yaml.report import Report, TooManyError, guess, quote
from .yaml.text import START, unstorable

STORE: Final = "sqlite:///mlflow.db"
USAGE_STORE: Final = "sqlite:///.lac/usage.db"
"""Where the endpoints of a local Ray write their usage."""
INCLUDE: Final = ("**/*.yaml", "**/*.yml", "**/*.yaml.j2", "**/*.yml.j2")
UNNAMED: Final = "default"
"""The value of `environment` in templates if none is selected."""


@dataclass(frozen=True, slots=True)
class Project:
    """lac.yaml, read for one environment. `include` is empty if the file doesn't set it."""

    settings: Settings
    renderer: Renderer
    include: tuple[tuple[str, Source], ...]
    warnings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Choices:
    """The caller's choices. `var_files`: names and bytes; `environ`: the process's environment variables;
    `partial`: unused variables need no value."""

    environment: str | None
    variables: Mapping[str, str]
    var_files: tuple[tuple[str, bytes], ...]
    environ: Mapping[str, str]
    partial: bool = False


def read_project(
    data: bytes, file: str, directory: Path, sections: Iterable[str], choices: Choices
) -> Project:
    """The stack that lac.yaml describes; of the other environments, only the form is checked. LacError with
    every problem."""
    report = Report(file)
    try:
        project = _project(data, directory, sections, choices, report)
    except TooManyError:
        raise LacError(*in_file_order(report.problems)) from None
    refuse(report.problems)
    return replace(project, warnings=tuple(warnings_in(report.problems)))


def _project(
    data: bytes, directory: Path, sections: Iterable[str], choices: Choices, report: Report
) -> Project:
    root = parse(data, report)
    if root.__class__ is not Map:
        if not report.problems:
            report.add("missing-field", START, "lac.yaml needs `name`.", "add `name:`")
        raise LacError(*report.problems)
    if b"${" in data:
        warn_of_placeholders(root, report, settings=True)
    values = read_part(root, ProjectFile, "lac.yaml", root, "lac.yaml", report)
    _point_to_files(root, sections, report)
    environments = root.get("environments")
    if not isinstance(environments, Map):
        environments = Map(root.at)
    _check_names(root, environments, report)
    own = _environment(environments, choices.environment, root.place_of_key("environments"), report)
    variables = _variables(root, own, values, choices, report)
    reader = _Reader(root, own, Renderer(variables, choices.environment or UNNAMED), choices.environ, report)
    include = reader.include()
    guards = reader.part("guards", GuardsFile)
    serve = reader.serve()
    usage_default = Connection(USAGE_STORE) if serve is not None and serve.local else None
    settings = Settings(
        name=str(values.get("name", "")),
        directory=directory,
        environment=choices.environment,
        workspace=reader.text("workspace") or "default",
        store=reader.connection("store") or Connection(STORE),
        auth_store=reader.connection("auth_store"),
        serve=serve,
        variables=variables,
        limits=Limits(guards.max_deletion_share, guards.max_deletions),
        drift_ignore=reader.part("drift", DriftFile).ignore,
        evidence_seconds=reader.part("evidence", EvidenceFile).seconds,
        local=reader.find_part("local", LocalFile),
        usage_store=reader.connection("usage_store") or usage_default,
        environments=frozenset(environments),
        default_permission=reader.default_permission(),
        include=tuple(pattern for pattern, _ in include),
        secrets=reader.secrets(),
        rate_limit_store=reader.connection("rate_limit_store"),
    )
    return Project(settings, reader.renderer, include)


def _point_to_files(root: Map, sections: Iterable[str], report: Report) -> None:
    """Replace the hints for sections in lac.yaml: they are misplaced, not mistyped settings."""
    places = {report.source(root.place_of_key(name)) for name in root.keys() & set(sections)}
    hint = "put sections into other files, listed under `include`"
    report.problems[:] = [
        replace(p, hint=hint) if p.code == "unknown-field" and p.at in places else p for p in report.problems
    ]


def _check_names(root: Map, environments: Map, report: Report) -> None:
    name = root.get("name")
    if isinstance(name, str) and not re.fullmatch(NAME, name):
        hint = "use lower case letters, digits, `-` and `_`, at most 63 of them"
        report.add("bad-value", root.place("name"), f"{quote(name)} is not a valid stack name.", hint)
    if UNNAMED in environments:
        detail = f"`{UNNAMED}` is reserved for the settings outside of `environments`."
        report.add("bad-value", environments.place_of_key(UNNAMED), detail, "rename it")


def _environment(environments: Map, name: str | None, at: Mark, report: Report) -> Map | None:
    """The settings of the selected environment; None if none is selected or it has no settings."""
    if name is not None and name not in environments:
        hint = guess(name, environments) or "declare it under `environments` in lac.yaml"
        report.add("unknown-environment", at, f"There is no environment {quote(name)}.", hint)
    own = None if name is None else environments.get(name)
    return own if isinstance(own, Map) else None


def _variables(
    root: Map, own: Map | None, values: Mapping[str, Any], choices: Choices, report: Report
) -> dict[str, Any]:
    variables = Variables()
    variables.declare(root.get("variables"), values.get("variables", {}), report)
    if own is not None:
        settings = values["environments"][choices.environment]
        variables.declare(own.get("variables"), settings.get("variables", {}), report)
    variables.from_environ(choices.environ)
    for file, data in choices.var_files:
        variables.from_file(data, file)
    variables.from_options(choices.variables)
    complete = variables.known() if choices.partial else variables.complete()
    for diagnostic in variables.problems:
        report.note(diagnostic)
    return complete


class _Reader:
    """The effective settings: the selected environment's, otherwise the stack's."""

    def __init__(
        self, root: Map, own: Map | None, renderer: Renderer, environ: Mapping[str, str], report: Report
    ) -> None:
        self.renderer = renderer
        self._levels = [level for level in (own, root) if level is not None]
        self._environ = environ
        self._report = report
        self._tree = TreeRenderer(renderer, report)

    def _holder(self, key: str) -> Map:
        """The level that has the setting; the stack's if none has."""
        return next((level for level in self._levels if key in level), self._levels[-1])

    def text(self, key: str) -> str | None:
        """A setting that may use variables, but not `env`."""
        return self._fill(self._holder(key), key, None)

    def connection(self, key: str, holder: Map | None = None) -> Connection | None:
        """A setting, or a field of `holder`, that may also use `env`."""
        holder = self._holder(key) if holder is None else holder
        value = self._fill(holder, key, self._environ)
        if value is None:
            return None
        return Connection(value, holder[key] if is_reference(holder[key]) else None)

    def _fill(self, holder: Any, key: Any, env: Mapping[str, str] | None) -> str | None:
        """The text at `holder[key]`, rendered; None if there is none or a problem was reported."""
        value = holder.get(key) if isinstance(holder, Map) else holder[key]
        if not isinstance(value, str):
            return None
        if has_template(value):
            value = self._tree.fill(holder, key, value, env)
        if not isinstance(value, str):
            bad_value(value, holder, key, self._report, "text", secret=True)
            return None
        if not value.strip():
            self._report.add("bad-value", holder.place(key), f"`{name_of(key)}` is empty.")
            return None
        if odd := unstorable(value):
            self._report.add("bad-character", holder.place(key), f"`{name_of(key)}` contains {odd}.")
            return None
        return value

    def serve(self) -> Serve | None:
        """Where endpoints run; None if the stack has no serving plane."""
        holder = self._holder("serve")
        node = holder.get("serve", "none")
        if node in ("none", "local"):
            return Serve(local=True) if node == "local" else None
        if not isinstance(node, Map):
            address = self.connection("serve")
            return Serve(False, self._address(address, holder, "serve")) if address else None
        at, token, data = (self.connection(key, node) for key in ("address", "token", "data_address"))
        runtime_env: Any = {}
        if "runtime_env" in node:
            self._tree.render(node["runtime_env"])
            runtime_env = read_untyped(node["runtime_env"], node, "runtime_env", self._report)
        if at is None:
            return None
        return Serve(
            local=False,
            address=self._address(at, node, "address"),
            token=token.value if token else None,
            data_address=self._address(data, node, "data_address") if data else None,
            runtime_env=runtime_env,
        )

    def _address(self, address: Connection, holder: Map, key: str) -> str:
        """An http(s) address. Problems don't repeat it: it may contain a password."""
        try:
            parts = urlsplit(address.value)
            # an invalid port raises, too
            fits = parts.scheme in ("http", "https") and bool(parts.netloc) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            choices = "`local`, `none` or " if key == "serve" else ""
            detail = f"`{key}` must be {choices}an address such as `http://head.example:8265`."
            self._report.add("bad-value", holder.place(key), detail)
        return address.value

    def secrets(self) -> dict[str, dict[str, Any]]:
        """The sources of secrets, by `scope/key`; the selected environment's scopes beside the stack's."""
        sources: dict[str, dict[str, Any]] = {}
        for level in reversed(self._levels):
            scopes = level.get("secrets")
            for scope, keys in scopes.items() if isinstance(scopes, Map) else ():
                for key in keys if isinstance(keys, Map) else ():
                    if (secret := self._part(keys, key, SecretFile)) is not None:
                        name = f"{scope}/{key}"
                        if secrets_in(f"{{{{secrets/{name}}}}}") != {name}:
                            detail = f"{quote(name)} can't be the name of a secret."
                            hint = "use letters, digits, `_`, `.` and `-`"
                            self._report.add("bad-value", keys.place_of_key(key), detail, hint)
                        sources[name] = secret.source
        return sources

    def default_permission(self) -> str:
        """The level that MLflow's server gives without a grant."""
        level = self._holder("default_permission").get("default_permission")
        # an invalid level is reported with the whole file
        return level if isinstance(level, str) else DEFAULT_PERMISSION

    def part(self, key: str, part: type[P]) -> P:
        """A setting with fields of its own; its defaults if there is none or a problem was reported."""
        return self.find_part(key, part) or part()

    def find_part(self, key: str, part: type[P]) -> P | None:
        """A setting with fields of its own; None if there is none or a problem was reported."""
        return self._part(self._holder(key), key, part)

    def _part(self, holder: Map, key: str, part: type[P]) -> P | None:
        node = holder.get(key)
        if not isinstance(node, Map):
            return None
        # its form is checked with the whole file; read again for the values alone
        self._tree.render(node)
        again = Report(self._report.file)
        values = read_part(node, part, key, holder, key, again)
        if again.problems or REFUSED in values.values():
            return None
        try:
            return part.model_validate(values)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                name = str(item["loc"][0]) if item["loc"] else ""
                place = node.place(name) if name in node else node.at
                path = f"{key}.{name}" if name else key
                self._report.add("bad-value", place, describe_error(item, None, path, False))
            return None

    def include(self) -> tuple[tuple[str, Source], ...]:
        """The patterns with their places; by default everything."""
        items = self._holder("include").get("include")
        if not isinstance(items, Seq):
            return ()
        patterns = ((self._fill(items, index, None), items.place(index)) for index in range(len(items)))
        return tuple((pattern, self._report.source(mark)) for pattern, mark in patterns if pattern)
