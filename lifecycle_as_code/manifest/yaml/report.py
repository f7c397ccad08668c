"""Collects the problems of one file and knows its places. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from ...model.diagnostics import Diagnostic, Severity, Source, did_you_mean
from ...model.text import shorten
from .nodes import Mark

SUMMARIES = {
    "alias-cycle": "alias stands inside what it names",
    "bad-character": "text holds a character that can't be stored",
    "bad-merge": "only mappings can be merged",
    "contradiction": "two parts of the manifests say opposite things",
    "bad-value": "value does not fit the field",
    "declared-twice": "object is declared twice",
    "duplicate-key": "key is given twice",
    "env-not-allowed": "environment variables may not stand here",
    "env-not-set": "environment variable is not set",
    "include-matches-nothing": "include matches no file",
    "include-outside": "include leaves the stack's directory",
    "key-not-text": "key is not a name",
    "literal-placeholder": "text looks like a variable and is none",
    "look-alike": "name can't be told from another by eye",
    "missing-field": "required field is missing",
    "more-problems": "file has more problems than are shown",
    "no-lac-yaml": "directory holds no lac.yaml",
    "not-a-file": "not a regular file",
    "not-a-manifest": "file isn't one of a manifest's kind",
    "not-formatted": "file is left as it is",
    "not-a-mapping": "file does not hold sections",
    "not-utf-8": "file is not UTF-8 text",
    "quote-it": "unquoted value is not read as text",
    "several-documents": "file holds more than one document",
    "tag-refused": "YAML tags are not read",
    "template-error": "template can't be filled in",
    "template-in-key": "template stands in a key",
    "too-deep": "nested too deeply",
    "too-large": "larger than the limit",
    "undefined-name": "name is not defined",
    "unknown-alias": "alias names nothing",
    "unknown-environment": "environment is not declared",
    "unknown-field": "name is not known here",
    "unknown-section": "section is not known",
    "unknown-variable": "variable is not declared",
    "unreadable-file": "file can't be read",
    "variable-not-set": "variable has no value",
    "yaml-syntax": "not valid YAML",
}
"""Each code's one summary: no user's names in it."""


MAX_PROBLEMS = 1_000
"""How many problems of one file are kept."""
MAX_SENTENCE = 1_000
"""How long a detail or a hint may be, whatever name is in it."""
_MAX_GUESSED_NAME, _MAX_GUESSES = 64, 100


class TooManyError(Exception):
    """The report is full: reading on would be work for nobody."""


def problem(
    code: str, detail: str, hint: str = "", at: Source | None = None, severity: Severity = "error"
) -> Diagnostic:
    """A diagnostic with its code's summary."""
    return Diagnostic(code, SUMMARIES[code], _bearable(detail), _bearable(hint), at, severity)


def _bearable(sentence: str) -> str:
    return shorten(sentence, MAX_SENTENCE)


def guess(name: str, known: Collection[str]) -> str:
    """`did_you_mean`, where comparing doesn't take long: its cost grows with both."""
    if len(name) > _MAX_GUESSED_NAME or len(known) > _MAX_GUESSES:
        return ""
    return did_you_mean(name, known)


def is_typo(name: str, known: Collection[str]) -> bool:
    """Whether somebody meant one of `known`: nearer than what `guess` takes a chance on."""
    return len(name) <= _MAX_GUESSED_NAME and bool(get_close_matches(name, known, 1, 0.8))


@dataclass(frozen=True, slots=True)
class Report:
    """The problems found in `file` so far. `lines`: for a rendered text, the template's line (from one) that
    each of its lines comes from; columns are the rendered text's then. `data`: the file's bytes; none for
    a rendered text, whose columns aren't the file's."""

    file: str
    lines: Sequence[int] = ()
    problems: list[Diagnostic] = field(default_factory=list)
    data: bytes = field(default=b"", repr=False)

    def source(self, mark: Mark) -> Source:
        """The place to show for `mark`."""
        line = mark.line
        if self.lines:
            return Source(self.file, self.lines[min(line, len(self.lines) - 1)], mark.column + 1)
        return Source(self.file, line + 1, mark.column + 1)

    def add(self, code: str, mark: Mark, detail: str, hint: str = "") -> None:
        """Note an error at `mark`."""
        self.note(problem(code, detail, hint, self.source(mark)))

    def note(self, found: Diagnostic) -> None:
        """Note a problem. TooManyError beyond `MAX_PROBLEMS`, which is noted too: nobody reads a million."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(replace(found, detail=_bearable(found.detail), hint=_bearable(found.hint)))
            return
        if len(self.problems) == MAX_PROBLEMS:
            detail = f"The first {MAX_PROBLEMS:,} are shown."
            self.problems.append(problem("more-problems", detail, at=found.at))
        raise TooManyError


def shown(text: str, limit: int = 60) -> str:
    """What was written, on one line and of bearable length, between backticks."""
    line = text if text.isprintable() else repr(text)[1:-1]
    return f"`{shorten(line, limit)}`"
