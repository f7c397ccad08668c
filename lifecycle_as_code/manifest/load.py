"""Read a stack's directory: the settings, then every manifest, then every problem at once."""

from __future__ import annotations

import gc
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from ..model.diagnostics import Diagnostic, LacError, Source, in_file_order, refuse, warnings_in
from ..model.policy import Rules
from ..model.snapshot import Desired
from ..model.spec import Spec
from .bind import LEAVE_OUT, Binder
from .files import PROJECT, list_manifests, read, suggest_directory
from .placeholders import warn_of_placeholders
from .project import INCLUDE, Choices, Project, read_project
from .settings import ProjectFile, Settings
from .templates import Renderer, TemplateError, TreeRenderer, report_file_error
from .yaml.reader import parse
from .yaml.report import MAX_PROBLEMS, Report, TooManyError, problem, quote
from .yaml.text import readable

_has_template = re.compile(rb"\{[{%#]").search

Texts = Mapping[str, bytes]
"""Texts that replace files, by their names in `Manifest.files`."""

Check = Callable[[Desired], Iterable[Diagnostic]]
"""A rule over everything that the manifests declare."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A stack's desired state. `files`: the manifests, by their names in problems. `again` reads them once
    more, as `load` does, with other texts for some of them."""

    settings: Settings
    desired: Desired
    files: tuple[str, ...]
    again: Callable[[Texts], Manifest] = field(repr=False, compare=False)

    def texts(self) -> dict[str, str]:
        """The manifests' texts with their own line ends, by name, read again: they may have changed."""
        return {name: Path(name).read_bytes().decode() for name in self.files}

    def digest(self) -> str:
        """A hash over all files, including lac.yaml, read again: they may have changed."""
        digest = hashlib.sha256()
        root = self.settings.directory
        for name in [str(root / PROJECT), *self.files]:
            path = Path(name)
            shown_as = os.path.relpath(path.resolve(), root)
            try:
                data = hashlib.sha256(read(path, shown_as)).hexdigest()
            except LacError:
                data = "-"
            digest.update(f"{shown_as}\0{data}\n".encode())
        return f"sha256:{digest.hexdigest()}"


def load(
    directory: str | Path,
    specs: Mapping[str, type[Spec]],
    *,
    environment: str | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
    var_files: Sequence[str | Path] = (),
    environ: Mapping[str, str] = os.environ,
    settings_only: bool = False,
    checks: Sequence[Check] = (),
) -> Manifest:
    """Read lac.yaml in `directory` and the manifests that it includes, for one environment or none.

    `specs` by kind. `settings_only`: the manifests are listed, not read. `variables` and
    `var_files` as from `--var` and `--var-file` (relative to the working directory). `checks`: the
    caller's rules. LacError with every problem, in file order; warnings are in `desired.warnings`.
    """

    root = Path(directory)
    path = root / PROJECT

    def again(texts: Texts) -> Manifest:
        if not os.path.lexists(path):
            detail = f"There is no {quote(str(path))}."
            raise LacError(problem("no-lac-yaml", detail, suggest_directory(root)))
        with _without_collector():
            contents = tuple((str(file), read(Path(file), str(file))) for file in var_files)
            choices = Choices(environment, variables, contents, environ, settings_only)
            sections = {spec.section for spec in specs.values()}
            project = read_project(read(path, str(path)), str(path), root.resolve(), sections, choices)
            names, problems = _list_files(root, project)
            desired = Desired()
            if not settings_only:
                desired = _read_manifests(root, names, problems, project, specs, checks, texts)
        return Manifest(project.settings, desired, tuple(str(root / name) for name in names), again)

    return again({})


@contextmanager
def _without_collector() -> Iterator[None]:
    """Without the cycle collector: all objects stay, and its repeated passes cost a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _read_manifests(
    root: Path,
    names: Sequence[str],
    problems: list[Diagnostic],
    project: Project,
    specs: Mapping[str, type[Spec]],
    checks: Sequence[Check],
    texts: Texts,
) -> Desired:
    binder = Binder(specs, frozenset(ProjectFile.model_fields))
    for name in names:
        file_problems = _bind(root, name, project.renderer, binder, texts)
        problems += file_problems
        # nobody reads the problems of ten thousand files
        if file_problems and sum(p.severity == "error" for p in problems) > MAX_PROBLEMS:
            break
    rules = binder.rules.rules if binder.has_rules else Rules()
    blocks = binder.blocks
    desired = Desired(
        binder.objects,
        binder.places,
        binder.scopes,
        (),
        blocks.lifecycles,
        tuple(blocks.moves),
        blocks.removals,
        blocks.imports,
        rules=rules,
        selected_at=binder.selected_at,
    )
    problems += blocks.conflicts(binder.objects)
    if binder.has_rules:
        problems += binder.rules.conflicts(project.settings.environments)
    problems += [problem for check in checks for problem in check(desired)]
    # a loop in a template may repeat one
    problems = list(dict.fromkeys(problems))
    refuse(problems)
    warnings = in_file_order([*project.warnings, *warnings_in(problems)])
    return replace(desired, warnings=tuple(warnings))


def _list_files(root: Path, project: Project) -> tuple[list[str], list[Diagnostic]]:
    """The files to read. Without `include` in lac.yaml, all; then a pattern may match nothing."""
    start = Source(str(root / PROJECT), 1, 1)
    names, problems = list_manifests(root, project.include or [(pattern, start) for pattern in INCLUDE])
    if not project.include:
        problems = [p for p in problems if p.severity == "error"]
        if not names:
            detail = "There is no manifest in the directory of lac.yaml or below it."
            problems.append(problem("include-matches-nothing", detail, at=start, severity="warning"))
    return names, problems


def _bind(root: Path, name: str, renderer: Renderer, binder: Binder, texts: Texts) -> list[Diagnostic]:
    """Read one manifest into `binder`; return its problems."""
    shown_as = str(root / name)
    try:
        data = texts[shown_as] if shown_as in texts else read(root / name, shown_as)
    except LacError as error:
        return list(error.diagnostics)
    report = Report(shown_as, data=data)
    original, tree = data, None
    # the last problem says that there are more
    with suppress(TooManyError):
        result = _render(data, renderer, report) if name.endswith(".j2") else (data, report)
        if result is not None:
            data, report = result
            tree = parse(data, report)
            if b"${" in data and binder.recognizes(tree, data):
                warn_of_placeholders(tree, report)
            if data is original and _has_template(data) and binder.recognizes(tree, data):
                renderer.budget.allow(len(data) // 4)
                TreeRenderer(renderer, report).render(tree)
            binder.file(tree, report)
    errors = [p for p in report.problems if p.severity == "error"]
    if errors and not binder.recognizes(tree, original):
        # it seems to be another program's file: its first problem, with how to exclude it
        hints = dict.fromkeys(hint for hint in (errors[0].hint, LEAVE_OUT) if hint)
        return [replace(errors[0], hint="; ".join(hints))]
    return report.problems


def _render(data: bytes, renderer: Renderer, report: Report) -> tuple[bytes, Report] | None:
    """Render a template file to YAML, with a report that maps its lines back; None if it can't be rendered.
    The result isn't rendered again: a variable's text is never code."""
    if renderer.budget.spent or not readable(data, report):
        return None
    try:
        text, lines = renderer.file(data.decode())
    except TemplateError as error:
        report_file_error(error, report)
        return None
    return text.encode(), Report(report.file, lines, report.problems)
