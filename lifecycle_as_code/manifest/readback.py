"""Whether edited manifests, read again, declare what was wanted, and all else as before. Pure.

Read as `load` does, but without the stack's variables: what a template gave is learned from the specs that
were declared with it, since equal templates give equal values throughout a stack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..model.diagnostics import Source
from ..model.snapshot import Claim
from ..model.spec import Address, ByKey, Part, Spec, Unordered, fields_marked, marked, plain, shapes
from .bind import Binder
from .templates import Renderer, TreeRenderer, has_template
from .write import write
from .yaml.nodes import Map, Seq
from .yaml.reader import parse
from .yaml.report import Report, TooManyError


def said(spec: Spec | None) -> Any:
    """A spec as a person writes it, for comparing: lists whose order means nothing are sorted."""
    return None if spec is None else _sorted(spec.written(), type(spec))


def differences(
    texts: Mapping[str, str],
    changed: Mapping[str, str],
    places: Mapping[Address, Source],
    declared: Mapping[Address, Spec],
    changes: Mapping[Address, Spec | None],
    classes: Mapping[str, type[Spec]],
) -> Iterator[tuple[Address, str]]:
    """Objects that the `changed` texts declare otherwise than they should, each with what is wrong.

    Objects that couldn't be read before, for a template of which nothing is known, may stay so.
    """
    renderer = _Learned(_lessons({file: texts[file] for file in changed}, places, declared, classes))
    before = _Read({file: texts[file] for file in changed}, classes, renderer)
    after = _Read(changed, classes, renderer)
    if worse := after.problems - before.problems:
        why = f"the edited text could not be read: {next(iter(worse)).rstrip('.')}"
        yield from ((address, why) for address in changes)
        return
    for address, spec in changes.items():
        if said(after.objects.get(address)) != said(spec):
            yield address, "the edited text would not declare what is wanted"
    for address in before.objects.keys() | after.objects.keys():
        if address not in changes and said(before.objects.get(address)) != said(after.objects.get(address)):
            yield address, "the edits of other objects would change it too"
    for address in before.scopes.keys() | after.scopes.keys():
        stays = changes.get(address, declared.get(address)) is not None
        if stays and before.claim(address) != after.claim(address):
            yield address, "its list of permissions would no longer claim the same"


def unreadable(specs: Sequence[Spec], classes: Mapping[str, type[Spec]]) -> Iterator[tuple[Address, str]]:
    """Which of `specs` a manifest can't declare, each with the reason, as `load` gives it.

    All are read at once, and where that fails by halves: most often nothing is wrong.
    """
    read = _Read({"": write(specs, classes)}, classes, Renderer({}, ""))
    wrong = next(iter(read.problems), "")
    if not wrong and all(said(read.objects.get(spec.address)) == said(spec) for spec in specs):
        return
    if len(specs) == 1:
        yield specs[0].address, wrong or "a manifest would not declare the same object."
        return
    half = len(specs) // 2
    yield from unreadable(specs[:half], classes)
    yield from unreadable(specs[half:], classes)


class _Read:
    """What some texts declare, with the problems found. A problem's place isn't kept: lines move."""

    def __init__(
        self, texts: Mapping[str, str], classes: Mapping[str, type[Spec]], renderer: Renderer
    ) -> None:
        binder = Binder(classes)
        self.objects: Mapping[Address, Spec] = binder.objects
        self.scopes: Mapping[Address, Claim] = binder.scopes
        self.problems: Counter[str] = Counter()
        for file, text in texts.items():
            report = Report(file)
            # the last of the problems says that there are more
            with suppress(TooManyError):
                tree: Any = parse(text.encode(), report)
                renderer.budget.allow(len(text) // 4)
                TreeRenderer(renderer, report).render(tree)
                binder.file(tree, report)
            self.problems.update(found.detail for found in report.problems)

    def claim(self, address: Address) -> bool | None:
        """Whether the object's permissions are claimed, and if so, hidden roles' too."""
        found = self.scopes.get(address)
        return None if found is None else found.exclusive


class _Learned(Renderer):
    """Knows what some templates give, and no variables."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        super().__init__({}, "")
        self._known = known

    def value(self, text: str, env: Mapping[str, str] | None = None) -> Any:
        """What `text` is known to give; otherwise what it gives without variables."""
        return self._known[text] if text in self._known else super().value(text, env)


def _lessons(
    texts: Mapping[str, str],
    places: Mapping[Address, Source],
    declared: Mapping[Address, Spec],
    classes: Mapping[str, type[Spec]],
) -> dict[str, Any]:
    """What the templates in these texts gave, as far as the declared specs show it."""
    known: dict[str, Any] = {}
    specs = {at: declared[address] for address, at in places.items() if address in declared}
    pairs = {nest.field: nest.map_to[1] for spec in classes.values() for nest in spec.nests if nest.map_to}

    def learn(node: Any, value: Any) -> None:
        if isinstance(node, str) and has_template(node):
            known.setdefault(node, value)
        elif isinstance(node, Map) and isinstance(value, Mapping):
            for key, inner in node.items():
                if key in value:
                    learn(inner, value[key])
        elif isinstance(node, Seq) and isinstance(value, list | tuple) and len(node) == len(value):
            for inner, one in zip(node, value, strict=True):
                learn(inner, one)

    def visit(node: Any, report: Report) -> None:
        if isinstance(node, Map):
            if spec := specs.get(report.source(node.at)):
                learn(node, plain(spec))
            for key, inner in node.items():
                if key in pairs and isinstance(inner, Map):
                    for _, pointed, (mark, _) in inner.entries():
                        if spec := specs.get(report.source(mark)):
                            learn(pointed, getattr(spec, pairs[key]))
                visit(inner, report)
        elif isinstance(node, Seq):
            for inner in node:
                visit(inner, report)

    for file, text in texts.items():
        if has_template(text):
            report = Report(file)
            visit(parse(text.encode(), report), report)
    return known


def _sorted(data: Mapping[str, Any], part: type[Part]) -> dict[str, Any]:
    by_key: dict[str, ByKey] = dict(marked(part, ByKey))
    unordered = fields_marked(part, Unordered)
    inside = shapes(part)
    result: dict[str, Any] = {}
    for name, value in data.items():
        inner, _ = inside.get(name, (None, False))
        if isinstance(value, list | tuple):
            items = [_sorted(i, inner) if inner and isinstance(i, Mapping) else i for i in value]
            if name in by_key:
                items.sort(key=lambda item: str(item.get(by_key[name].field)))
            elif name in unordered:
                items.sort(key=str)
            result[name] = items
        elif inner and isinstance(value, Mapping):
            result[name] = _sorted(value, inner)
        else:
            result[name] = value
    return result
