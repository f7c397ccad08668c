"""Specs that manifests can't declare: they are written as YAML and read back. Pure."""

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
    """The specs that a manifest can't declare, each with `load`'s reason. All are read at once, then in
    halves if that fails: most often there is none."""
    objects, problem = _read(write(specs, classes), classes)
    if not problem and not any(differ(objects.get(spec.address), spec) for spec in specs):
        return
    if len(specs) == 1:
        yield specs[0].address, problem or "A manifest would declare another object."
        return
    half = len(specs) // 2
    yield from list_undeclarable(specs[:half], classes)
    yield from list_undeclarable(specs[half:], classes)


def _read(text: str, classes: Mapping[str, type[Spec]]) -> tuple[Mapping[Address, Spec], str]:
    """The objects that a text declares, and its first problem."""
    binder, report, renderer = Binder(classes), Report(""), Renderer({}, "")
    # the last problem says that there are more
    with suppress(TooManyError):
        tree: Any = parse(text.encode(), report)
        renderer.budget.allow(len(text) // 4)
        TreeRenderer(renderer, report).render(tree)
        binder.file(tree, report)
    return binder.objects, next((problem.detail for problem in report.problems), "")
