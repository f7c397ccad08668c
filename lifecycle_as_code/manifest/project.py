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
from ..serving.references import is_reference
from .convert import read_part, untyped
from .placeholders import warn_of_placeholders
from .settings import (
    DEFAULT_PERMISSION,
    NAME,
    Connection,
    DriftFile,
    EvidenceFile,
    GuardsFile,
    ProjectFile,
    Serve,
    Settings,
)
from .templates import Renderer, TreeRenderer, has_template
from .variables import Variables
from .wording import bad_value, name_of
from .yaml.nodes import Map, Seq
from .yaml.reader import parse
from .yaml.report import Report, TooManyError, guess, problem, shown
from .yaml.text import START, unstorable

STORE: Final = "sqlite:///mlflow.db"
INCLUDE: Final = ("**/*.yaml", "**/*.yml", "**/*.yaml.j2", "**/*.yml.j2")
UNNAMED: Final = "default"
"""What `environment` is in templates where none was chosen."""


@dataclass(frozen=True, slots=True)
class Project:
    """lac.yaml, read for one environment. `include` is empty where the file says nothing about it."""

    settings: Settings
    renderer: Renderer
    include: tuple[tuple[str, Source], ...]
    warnings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Choices:
    """What the caller decides: the environment, what sets variables (`var_files`: name and bytes), and the
    process's environment variables. `partial`: variables that nothing uses need no value."""

    environment: str | None
    variables: Mapping[str, str]
    var_files: tuple[tuple[str, bytes], ...]
    environ: Mapping[str, str]
    partial: bool = False


def known_settings() -> frozenset[str]:
    """The names that stand in lac.yaml and not in other files."""
    return frozenset(ProjectFile.model_fields)


def read_project(
    data: bytes, file: str, directory: Path, sections: Iterable[str], choices: Choices
) -> Project:
    """The stack as lac.yaml describes it. LacError with every problem in it.

    Of the environments that aren't chosen, only the form is checked.
    """
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
    _check_names(root, values, report)
    own = _environment(root, choices.environment, report)
    variables = _variables(root, own, values, choices, report)
    environments = root.get("environments")
    reader = _Reader(root, own, Renderer(variables, choices.environment or UNNAMED), choices.environ, report)
    include = reader.include()
    settings = Settings(
        name=str(values.get("name", "")),
        directory=directory,
        environment=choices.environment,
        workspace=reader.text("workspace") or "default",
        store=reader.connection("store") or Connection(STORE),
        auth_store=reader.connection("auth_store"),
        serve=reader.serve(),
        variables=variables,
        limits=reader.limits(),
        drift_ignore=reader.drift_ignore(),
        evidence_seconds=reader.evidence_seconds(),
        environments=frozenset(environments) if isinstance(environments, Map) else frozenset(),
        default_permission=reader.default_permission(),
        include=tuple(pattern for pattern, _ in include),
    )
    return Project(settings, reader.renderer, include)


def _point_to_files(root: Map, sections: Iterable[str], report: Report) -> None:
    """A section in lac.yaml is a misplaced one rather than a mistyped setting."""
    places = {report.source(root.place_of_key(name)) for name in root.keys() & set(sections)}
    hint = "sections stand in files of their own, which `include` names"
    report.problems[:] = [
        replace(p, hint=hint) if p.code == "unknown-field" and p.at in places else p for p in report.problems
    ]


def _check_names(root: Map, values: Mapping[str, Any], report: Report) -> None:
    name = values.get("name")
    if isinstance(name, str) and not re.fullmatch(NAME, name):
        hint = "lower case letters, digits, `-` and `_`, at most 63 of them"
        report.add("bad-value", root.place("name"), f"{shown(name)} can't be a stack's name.", hint)
    environments = root.get("environments")
    if isinstance(environments, Map) and UNNAMED in environments:
        detail = f"`{UNNAMED}` stands for the settings outside of `environments`."
        report.add("bad-value", environments.place_of_key(UNNAMED), detail, "give it another name")


def _environment(root: Map, name: str | None, report: Report) -> Map | None:
    """The settings of the chosen environment; None where none is chosen or it has none of its own."""
    if name is None:
        return None
    environments = root.get("environments")
    declared = environments if isinstance(environments, Map) else Map(root.at)
    if name in declared:
        own = declared[name]
        return own if isinstance(own, Map) else None
    at = report.source(root.place_of_key("environments"))
    hint = guess(name, declared) or "declare it under `environments` in lac.yaml"
    report.problems.append(
        problem("unknown-environment", f"There is no environment {shown(name)}.", hint, at)
    )
    return None


def _variables(
    root: Map, own: Map | None, values: Mapping[str, Any], choices: Choices, report: Report
) -> dict[str, Any]:
    variables = Variables()
    variables.declare(root.get("variables"), values.get("variables", {}), report)
    if own is not None:
        chosen = values["environments"][choices.environment]
        variables.declare(own.get("variables"), chosen.get("variables", {}), report)
    variables.from_environ(choices.environ)
    for file, data in choices.var_files:
        variables.from_file(data, file)
    variables.from_options(choices.variables)
    complete = variables.known() if choices.partial else variables.complete()
    for found in variables.problems:
        report.note(found)
    return complete


class _Reader:
    """The settings that count: the chosen environment's, where it has them, otherwise the stack's."""

    def __init__(
        self, root: Map, own: Map | None, renderer: Renderer, environ: Mapping[str, str], report: Report
    ) -> None:
        self.renderer = renderer
        self._levels = [level for level in (own, root) if level is not None]
        self._environ = environ
        self._report = report
        self._tree = TreeRenderer(renderer, report)

    def _holder(self, key: str) -> Map | None:
        return next((level for level in self._levels if key in level), None)

    def text(self, key: str) -> str | None:
        """A setting that may use variables, but not `env`."""
        holder = self._holder(key)
        return None if holder is None else self._filled(holder, key, None)

    def connection(self, key: str) -> Connection | None:
        """A setting that may use `env` as well."""
        holder = self._holder(key)
        return None if holder is None else self._connection(holder, key)

    def _connection(self, holder: Map, key: str) -> Connection | None:
        value = self._filled(holder, key, self._environ)
        if value is None:
            return None
        return Connection(value, holder[key] if is_reference(holder[key]) else None)

    def _filled(self, holder: Any, key: Any, env: Mapping[str, str] | None) -> str | None:
        """The text at `holder[key]`, filled in; None where there is none or a problem was reported."""
        value = holder[key]
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
            self._report.add("bad-character", holder.place(key), f"`{name_of(key)}` holds {odd}.")
            return None
        return value

    def serve(self) -> Serve | None:
        """Where endpoints run; None where the stack has no serving plane."""
        holder = self._holder("serve")
        if holder is None or holder["serve"] == "none":
            return None
        if holder["serve"] == "local":
            return Serve(local=True)
        node = holder["serve"]
        if not isinstance(node, Map):
            address = self._connection(holder, "serve")
            return Serve(False, self._address(address, holder, "serve")) if address else None
        at, token, data = (
            self._connection(node, key) if key in node else None
            for key in ("address", "token", "data_address")
        )
        runtime_env: Any = {}
        if "runtime_env" in node:
            self._tree.render(node["runtime_env"])
            runtime_env = untyped(node["runtime_env"], node, "runtime_env", self._report)
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
        """An http(s) address. It isn't repeated in a problem: it may hold a password."""
        try:
            parts = urlsplit(address.value)
            # a port that is none raises, too
            fits = parts.scheme in ("http", "https") and bool(parts.netloc) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            choices = "`local`, `none` or " if key == "serve" else ""
            detail = f"`{key}` should be {choices}an address such as `http://head.example:8265`."
            self._report.add("bad-value", holder.place(key), detail)
        return address.value

    def limits(self) -> Limits:
        """How much one plan may delete."""
        given = self._part("guards", GuardsFile)
        return Limits() if given is None else Limits(given.max_deletion_share, given.max_deletions)

    def drift_ignore(self) -> tuple[str, ...]:
        """What drift passes over."""
        given = self._part("drift", DriftFile)
        return () if given is None else given.ignore

    def evidence_seconds(self) -> float:
        """How long models' files may take to be read."""
        given = self._part("evidence", EvidenceFile) or EvidenceFile()
        return given.seconds

    def default_permission(self) -> str:
        """What MLflow's server gives without a grant."""
        holder = self._holder("default_permission")
        given = None if holder is None else holder["default_permission"]
        # what isn't one of the levels is told with the whole file
        return given if isinstance(given, str) else DEFAULT_PERMISSION

    def _part(self, key: str, part: type[P]) -> P | None:
        """A setting with fields of its own; None where there is none or a problem was reported."""
        holder = self._holder(key)
        if holder is None or not isinstance(holder[key], Map):
            return None
        node = holder[key]
        # its form is checked with the whole file; asked again for the values alone
        values = read_part(node, part, key, holder, key, Report(self._report.file))
        try:
            return part.model_validate(values)
        except ValidationError as error:
            for found in error.errors(include_url=False, include_input=False):
                name = str(found["loc"][0]) if found["loc"] else key
                place = node.place(name) if name in node else node.at
                at = self._report.source(place)
                if at not in {p.at for p in self._report.problems}:
                    self._report.add("bad-value", place, f"`{key}.{name}`: {found['msg']}.")
            return None

    def include(self) -> tuple[tuple[str, Source], ...]:
        """The patterns with their places; by default everything."""
        holder = self._holder("include")
        items = None if holder is None else holder["include"]
        if holder is None or not isinstance(items, Seq):
            return ()
        patterns = ((self._filled(items, index, None), items.place(index)) for index in range(len(items)))
        return tuple((pattern, self._report.source(mark)) for pattern, mark in patterns if pattern)
