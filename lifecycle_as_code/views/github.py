"""A plan as annotations on lines of the manifests: GitHub's workflow commands. Pure.

GitHub shows ten errors, ten warnings and ten notices per step, so the most important ones come first, and the
tenth says how many are left.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from ..model.diagnostics import Diagnostic, Source, in_file_order
from ..model.plan import Plan
from ..model.review import Outcome, Verdict
from . import summary, versions
from .text import pluralize, safe, safe_lines, shorten_middle

Level = Literal["error", "warning", "notice"]
LEVELS: tuple[Level, ...] = get_args(Level)
_OUTCOME_LEVELS: dict[Outcome, Level] = {
    Outcome.DENIED: "error",
    Outcome.WARNED: "warning",
    Outcome.WAIVED: "notice",
}

MOST = 10
"""GitHub's limit for each level in one step."""

_NAME = 200
_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation. `at`: its line; None for the whole run."""

    level: Level
    title: str
    message: str
    at: Source | None = None


def plan(plan: Plan, root: str = "") -> str:
    """The commands, one a line, and the tally as the first notice. `root`: the path from the repository's
    root to the directory that places are relative to."""
    diagnostics = map(_problem, in_file_order(dict.fromkeys(plan.diagnostics)))
    return _commands([_tally(plan), *_verdicts(plan), *_signatures(plan), *diagnostics], root)


def problems(diagnostics: Iterable[Diagnostic], root: str = "") -> str:
    """The errors of a plan that failed."""
    return _commands(map(_problem, in_file_order(dict.fromkeys(diagnostics))), root)


def _commands(annotations: Iterable[Annotation], root: str) -> str:
    every = [*annotations]
    lines: list[str] = []
    for level in LEVELS:
        group = [annotation for annotation in every if annotation.level == level]
        if len(group) > MOST:
            left = pluralize(len(group) - MOST + 1, f"more {level}")
            title = f"{left}: GitHub shows at most {MOST} per step"
            group[MOST - 1 :] = [Annotation(level, title, "`lac plan` and `lac show FILE` list all.")]
        lines += [_command(annotation, root) for annotation in group]
    return "\n".join(lines)


def _verdicts(plan: Plan) -> Iterator[Annotation]:
    for verdict in summary.sort_verdicts(plan.review.verdicts):
        if level := _OUTCOME_LEVELS.get(verdict.outcome):
            title = f"{verdict.outcome} by {verdict.policy}: {verdict.address}"
            yield Annotation(level, title, "\n".join(_details(verdict)), verdict.line or verdict.at)


def _details(verdict: Verdict) -> Iterator[str]:
    if verdict.message:
        yield verdict.message
    yield from (f"not met: {requirement}" for requirement in verdict.failed)
    if verdict.waiver:
        yield f"waived until the end of {verdict.waiver.expires}: {verdict.waiver.reason}"
    if verdict.at:
        yield f"Policy: {verdict.at.file}:{verdict.at.line}"


def _signatures(plan: Plan) -> Iterator[Annotation]:
    """A warning for each breaking signature, even without a policy about it."""
    places = {change.address: change.at for change in plan.changes}
    for comparison in plan.review.evidence:
        if comparison.signature.breaking:
            title = f"signature breaking: {versions.title(comparison)}"
            at = places.get(comparison.address)
            yield Annotation("warning", title, "\n".join(comparison.signature.breaking), at)


def _problem(problem: Diagnostic) -> Annotation:
    hint = f"\nhint: {problem.hint}" if problem.hint else ""
    title = f"{problem.code}: {problem.summary}"
    return Annotation(problem.severity, title, f"{problem.detail}{hint}".strip(), problem.at)


def _tally(plan: Plan) -> Annotation:
    words = [badge.words for badge in summary.badges(plan)]
    return Annotation("notice", summary.describe_stack(plan), ", ".join([summary.tally(plan), *words]))


def _command(annotation: Annotation, root: str) -> str:
    properties = [("title", shorten_middle(safe(annotation.title), _NAME))]
    if at := annotation.at:
        file = safe(posixpath.normpath(posixpath.join(root, at.file)))
        properties = [("file", file), ("line", str(at.line)), ("col", str(at.column)), *properties]
    parameters = ",".join(f"{name}={_property(value)}" for name, value in properties)
    # GitHub drops an annotation without a message
    message = "\n".join(safe_lines(annotation.message[:_TEXT])).strip() or safe(annotation.title)
    return f"::{annotation.level} {parameters}::{_message(message)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
