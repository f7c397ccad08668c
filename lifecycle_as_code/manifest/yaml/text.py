"""Whether bytes are text that can be parsed, and libyaml's errors for people. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import yaml

from .nodes import Mark
from .report import Report

LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser, if PyYAML has it; otherwise a slower one. Only its events are used."""
MAX_BYTES = 16 * 1024 * 1024
"""The largest file. The benchmark's 10,000 models take 10.9 MB."""


class Place(NamedTuple):
    """A mark of our own, counted from zero."""

    line: int
    column: int


START = Place(0, 0)

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def unstorable(text: str) -> str:
    """The character in `text` that no database stores and UTF-8 can't encode; empty if there is none."""
    if text.isascii():
        return "a NUL character" if "\0" in text else ""
    match = _UNSTORABLE.search(text)
    return "" if match is None else "a NUL character" if match[0] == "\0" else "a lone surrogate"


def without(text: str) -> str:
    """`text` without `unstorable` characters, so that they aren't reported again."""
    return _UNSTORABLE.sub("", text)


def readable(data: bytes, report: Report) -> bool:
    """Whether size and encoding are valid. (libyaml guesses encodings, and stops at a NUL.)"""
    if len(data) > MAX_BYTES:
        detail = f"The file has {len(data):,} bytes; the limit is {MAX_BYTES:,}."
        report.add("too-large", START, detail, "split the file")
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        detail = f"Byte 0x{data[error.start]:02x} is not valid UTF-8."
        report.add("not-utf-8", _place_of(data, error.start), detail)
        return False
    if (at := data.find(b"\0")) >= 0:
        report.add("yaml-syntax", _place_of(data, at), "The file contains a NUL character.")
        return False
    return True


_CONFLICT: Final = re.compile(rb"^<{7} ", re.MULTILINE)

MAX_DEPTH: Final = 64
"""How deep a document may be nested."""


def _place_of(data: bytes, offset: int) -> Place:
    before = data[:offset]
    return Place(before.count(b"\n"), len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")))


def explain(error: yaml.YAMLError, data: bytes, report: Report) -> None:
    """Report libyaml's error. It doesn't repeat the text, which may contain a secret."""
    if conflict := _CONFLICT.search(data):
        at = _place_of(data, conflict.start())
        report.add("yaml-syntax", at, "A merge conflict starts here.", "resolve it and remove git's markers")
        return
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark: Mark = error.problem_mark
        lines = data.splitlines()
        line = lines[mark.line].decode() if mark.line < len(lines) else ""
        message = ", ".join(part for part in (error.context, error.problem) if part)
        # libyaml looks ahead behind an opening bracket, and has a limit of its own there by now
        if "maximum nesting depth" in message:
            report.add("too-deep", mark, f"More than {MAX_DEPTH} levels.")
            return
        report.add("yaml-syntax", mark, f"{message[:1].upper()}{message[1:]}.", _advice(line, mark.column))
    elif isinstance(error, yaml.reader.ReaderError):
        offset = error.position if isinstance(error.position, int) else 0
        detail = f"The file contains a character that YAML forbids: {error.reason}."
        report.add("yaml-syntax", _place_of(data, offset), detail)
    else:
        report.add("yaml-syntax", START, str(error))


def _advice(line: str, column: int) -> str:
    character = line[column : column + 1]
    if character in ("@", "`", "%"):
        return f"quote a value that starts with `{character}`"
    if character == "\t" or line.startswith("\t"):
        return "indent with spaces, not tabs"
    if "{{" in line:
        return 'quote a value with a template: "{{ … }}"'
    if ": " in line[:column].partition(": ")[2] or line[column : column + 1] == ":":
        return "quote a value that contains `: `"
    return ""
