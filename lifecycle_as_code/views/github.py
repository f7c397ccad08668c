"""A plan as annotations at the manifests' lines: GitHub's workflow commands. Pure.

GitHub shows ten errors, ten warnings and ten notices of a step, so the most important come first, and the
last of ten says how many more there are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..model.diagnostics import Diagnostic, Source, in_file_order
from ..model.plan import Plan
from ..model.review import Outcome, Verdict
from . import summary, versions
from .terminal import plan as human
from .terminal.review import OUTCOMES
from .text import counted, safe, safe_lines, shortened

Level = Literal["error", "warning", "notice"]

MOST = 10
"""Of each level, in one step: GitHub's limit."""

_NAME = 200
_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Annotation:
    """One of them. `at`: its line; None for the run as a whole."""

    level: Level
    title: str
    message: str
    at: Source | None = None


def plan(shown: Plan, root: str = "") -> str:
    """The commands, one a line, and the tally as the first notice. `root`: the way from the repository's root
    to the directory that places are told from."""
    noted = map(_problem, in_file_order(dict.fromkeys(shown.diagnostics)))
    return _told([_tally(shown), *_verdicts(shown), *_signatures(shown), *noted], root)


def problems(found: Iterable[Diagnostic], root: str = "") -> str:
    """What a plan failed with."""
    return _told(map(_problem, in_file_order(dict.fromkeys(found))), root)


def _told(annotations: Iterable[Annotation], root: str) -> str:
    kept = [*annotations]
    levels: tuple[Level, ...] = ("error", "warning", "notice")
    return "\n".join(
        _command(annotation, root)
        for level in levels
        for annotation in _first([a for a in kept if a.level == level])
    )


def _first(found: list[Annotation]) -> list[Annotation]:
    if len(found) <= MOST:
        return found
    left = len(found) - MOST + 1
    more = f"{counted(left, f'more {found[0].level}')}: GitHub shows {MOST} of a step"
    return [*found[: MOST - 1], Annotation(found[0].level, more, "`lac plan` and `lac show FILE` list all.")]


def _verdicts(shown: Plan) -> Iterator[Annotation]:
    levels: dict[Outcome, Level] = {
        Outcome.DENIED: "error",
        Outcome.WARNED: "warning",
        Outcome.WAIVED: "notice",
    }
    for outcome in OUTCOMES:
        for verdict in shown.review.verdicts:
            if verdict.outcome is outcome and outcome in levels:
                title = f"{outcome} by {verdict.policy}: {verdict.address}"
                at = verdict.line or verdict.at
                yield Annotation(levels[outcome], title, "\n".join(_because(verdict)), at)


def _because(verdict: Verdict) -> Iterator[str]:
    if verdict.message:
        yield verdict.message
    yield from (f"not met: {what}" for what in verdict.failed)
    if verdict.waiver:
        yield f"waived until the end of {verdict.waiver.expires}: {verdict.waiver.reason}"
    if verdict.at:
        yield f"The policy stands at {verdict.at.file}:{verdict.at.line}."


def _signatures(shown: Plan) -> Iterator[Annotation]:
    """A signature that breaks its callers is worth a look, whether a policy is about it or not."""
    places = {change.address: change.at for change in shown.changes}
    for compared in shown.review.evidence:
        if compared.signature.breaking:
            title = f"signature breaking: {versions.title(compared)}"
            at = places.get(compared.address)
            yield Annotation("warning", title, "\n".join(compared.signature.breaking), at)


def _problem(problem: Diagnostic) -> Annotation:
    hint = f"\nhint: {problem.hint}" if problem.hint else ""
    title = f"{problem.code}: {problem.summary}"
    return Annotation(problem.severity, title, f"{problem.detail}{hint}".strip(), problem.at)


def _tally(shown: Plan) -> Annotation:
    words = [b.words for b in summary.badges(shown)]
    return Annotation("notice", human.place(shown), ", ".join([summary.tally(shown), *words]))


def _command(shown: Annotation, root: str) -> str:
    properties = [("title", shortened(safe(shown.title), _NAME))]
    if shown.at:
        file = safe(posixpath.normpath(posixpath.join(root, shown.at.file)))
        spot = [("file", file), ("line", str(shown.at.line)), ("col", str(shown.at.column))]
        properties = [*spot, *properties]
    named = ",".join(f"{name}={_property(value)}" for name, value in properties)
    # without a message GitHub takes no annotation
    message = "\n".join(safe_lines(shown.message[:_TEXT])).strip() or safe(shown.title)
    return f"::{shown.level} {named}::{_message(message)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
