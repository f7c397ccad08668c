"""Specs that are written as YAML, read back as `load` reads manifests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..model.spec import Address, Spec
from .bind import Binder
from .edit.verify import differ
from .templates import Renderer, TreeRenderer
from .write import write
from .yaml.reader import parse
from .yaml.report import Report, TooManyError


def list_undeclarable(
    specs: Sequence[Spec], classes: Mapping[str, type[Spec]]
) -> Iterator[tuple[Address, str]]:
    """Which of `specs` a manifest can't declare, each with the reason, as `load` gives it.

    All are read at once, and where that fails by halves: most often nothing is wrong.
    """
    objects, problem = _read(write(specs, classes), classes)
    if not problem and not any(differ(objects.get(spec.address), spec) for spec in specs):
        return
    if len(specs) == 1:
        yield specs[0].address, problem or "a manifest would not declare the same object."
        return
    half = len(specs) // 2
    yield from list_undeclarable(specs[:half], classes)
    yield from list_undeclarable(specs[half:], classes)


def _read(text: str, classes: Mapping[str, type[Spec]]) -> tuple[Mapping[Address, Spec], str]:
    """What a text declares, and the first problem with it."""
    binder, report, renderer = Binder(classes), Report(""), Renderer({}, "")
    # the last of the problems says that there are more
    with suppress(TooManyError):
        tree: Any = parse(text.encode(), report)
        renderer.budget.allow(len(text) // 4)
        TreeRenderer(renderer, report).render(tree)
        binder.file(tree, report)
    return binder.objects, next((found.detail for found in report.problems), "")
