"""Collects the problems of one file and knows its places. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property

from ...model.diagnostics import Diagnostic, Severity, Source, did_you_mean
from ...model.text import shorten
from .nodes import Mark

SUMMARIES = {
    "alias-cycle": "alias refers to its own anchor",
    "bad-character": "invalid character",
    "bad-merge": "invalid merge key",
    "contradiction": "manifests contradict each other",
    "bad-value": "invalid value",
    "declared-twice": "object is declared twice",
    "duplicate-key": "duplicate key",
    "env-not-allowed": "environment variables are not allowed here",
    "env-not-set": "environment variable is not set",
    "include-matches-nothing": "include matches no file",
    "include-outside": "include leaves the stack's directory",
    "key-not-text": "invalid key",
    "literal-placeholder": "text looks like another tool's variable",
    "look-alike": "name looks identical to another",
    "missing-field": "required field is missing",
    "more-problems": "too many problems",
    "no-lac-yaml": "no lac.yaml in this directory",
    "not-a-file": "not a regular file",
    "not-a-manifest": "not a manifest",
    "not-formatted": "file was not formatted",
    "not-a-mapping": "file has no sections",
    "not-utf-8": "file is not UTF-8 text",
    "quote-it": "ambiguous value without quotes",
    "secret-not-allowed": "secrets are not allowed here",
    "several-documents": "file has more than one document",
    "tag-refused": "YAML tags are not supported",
    "template-error": "template can't be rendered",
    "template-in-key": "template in a key",
    "too-deep": "nested too deeply",
    "too-large": "size limit exceeded",
    "undefined-name": "name is not defined",
    "unknown-alias": "undefined YAML alias",
    "unknown-environment": "environment is not declared",
    "unknown-field": "unknown field",
    "unknown-section": "unknown section",
    "unknown-variable": "variable is not declared",
    "unreadable-file": "file can't be read",
    "variable-not-set": "variable has no value",
    "yaml-syntax": "invalid YAML",
}
"""Each code's only summary, without names from manifests."""


MAX_PROBLEMS = 1_000
"""The most problems of one file."""
MAX_SENTENCE = 1_000
"""The longest detail or hint."""
_MAX_GUESSED_NAME, _MAX_GUESSES = 64, 100


class TooManyError(Exception):
    """The report is full: nobody reads further problems."""


def problem(
    code: str, detail: str, hint: str = "", at: Source | None = None, severity: Severity = "error"
) -> Diagnostic:
    """A diagnostic with its code's summary."""
    return _shorten(Diagnostic(code, SUMMARIES[code], detail, hint, at, severity))


def _shorten(diagnostic: Diagnostic) -> Diagnostic:
    detail, hint = (shorten(text, MAX_SENTENCE) for text in (diagnostic.detail, diagnostic.hint))
    return replace(diagnostic, detail=detail, hint=hint)


def guess(name: str, known: Collection[str]) -> str:
    """`did_you_mean`, unless comparing takes long: its cost grows with both arguments."""
    if len(name) > _MAX_GUESSED_NAME or len(known) > _MAX_GUESSES:
        return ""
    return did_you_mean(name, known)


def is_typo(name: str, known: Collection[str]) -> bool:
    """Whether `name` is probably a typo of one of `known`: a stricter test than `guess`'s."""
    return len(name) <= _MAX_GUESSED_NAME and bool(get_close_matches(name, known, 1, 0.8))


@dataclass(frozen=True)
class Report:
    """The problems in `file` so far. `lines`: for a rendered text, the template's line (from one) of each of
    its lines; columns are then the rendered text's. `data`: the file's bytes; empty for a rendered text."""

    file: str
    lines: Sequence[int] = ()
    problems: list[Diagnostic] = field(default_factory=list)
    data: bytes = field(default=b"", repr=False)

    @cached_property
    def text(self) -> list[str]:
        """The lines of the file's text."""
        return self.data.decode(errors="replace").splitlines()

    def source(self, mark: Mark) -> Source:
        """The place of `mark` in the file."""
        line = self.lines[min(mark.line, len(self.lines) - 1)] if self.lines else mark.line + 1
        return Source(self.file, line, mark.column + 1)

    def add(self, code: str, mark: Mark, detail: str, hint: str = "") -> None:
        """Note an error at `mark`."""
        self.note(problem(code, detail, hint, self.source(mark)))

    def note(self, diagnostic: Diagnostic) -> None:
        """Note a problem. TooManyError beyond `MAX_PROBLEMS`, with a last problem that says so."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(_shorten(diagnostic))
            return
        if len(self.problems) == MAX_PROBLEMS:
            detail = f"Only the first {MAX_PROBLEMS:,} are listed."
            self.problems.append(problem("more-problems", detail, at=diagnostic.at))
        raise TooManyError


def quote(text: str, limit: int = 60) -> str:
    """`text` on one line, shortened, between backticks."""
    line = text if text.isprintable() else repr(text)[1:-1]
    return f"`{shorten(line, limit)}`"
