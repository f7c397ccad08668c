"""Patterns as policies have them: `*`, `?` and `[…]` stand for other characters. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any


def matches(text: str, patterns: Any) -> bool:
    """Whether `text` equals or fits one of the patterns (one, or a list of them)."""
    several = patterns if isinstance(patterns, list | tuple) else [patterns]
    return any(text == str(one) or fnmatchcase(text, str(one)) for one in several)
