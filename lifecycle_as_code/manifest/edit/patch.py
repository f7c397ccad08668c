"""Rewrite manifests in place to declare changed objects; comments and layout stay.

Only values that differ change. A section, or a list that claims its scope, becomes `[]` when it loses its
last item: the section keeps the place for the next item, the list keeps its claim. Other sugar goes with its
last entry.

A new object is written next to similar ones: into its parent's sugar if there is any, else into a section of
its kind (in a file with its siblings, in its parent's file, in any file), else as sugar in its parent if that
is in block style, else into a new section at the end of its parent's file or of the first file.

Never edited: `*.j2` files, and values that come from anchors, merge keys or templates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from ...model.diagnostics import Diagnostic, refuse
from ...model.spec import (
    Address,
    ByKey,
    KeyPart,
    Nest,
    Part,
    Spec,
    Unordered,
    find_fields,
    find_markers,
    shapes,
)
from ..load import Manifest
from ..shapes import shapes_of
from ..write import in_line, nest_items, parent_of, remaining_fields
from ..yaml.nodes import plain_data
from ..yaml.outline import Node
from ..yaml.report import quote
from .document import Document
from .index import Item, Page, open_page
from .splices import CannotEditError
from .verify import differ, differences

Changes = Mapping[Address, Spec | None]
"""The new declaration of each object; None removes it."""


def rewrite(manifest: Manifest, changes: Changes, classes: Mapping[str, type[Spec]]) -> dict[str, str]:
    """The new text of each file that has to change, by name.

    Specs are compared as they are written in manifests. LacError `cannot-edit` with every object that can't
    be edited safely, or that the new texts, read back, don't declare exactly.
    """
    objects = manifest.desired.objects
    changes = {address: spec for address, spec in changes.items() if differ(objects.get(address), spec)}
    patch = _Patch(manifest, changes, classes)
    patch.edit()
    refuse(patch.problems)
    texts = patch.texts()
    refuse(patch.problems)
    for address, why in differences(manifest, texts, changes) if changes else ():
        patch.refuse(address, why)
    refuse(patch.problems)
    return texts


class _Patch:
    """Turns changes of objects into changes of documents. At most one problem per object."""

    def __init__(self, manifest: Manifest, changes: Changes, classes: Mapping[str, type[Spec]]) -> None:
        self._places, self._objects = manifest.desired.places, manifest.desired.objects
        self._changes, self._classes = changes, classes
        self._by_section = {spec.section: spec for spec in classes.values()}
        self._sections = shapes_of(classes)
        self._texts = manifest.texts() if changes else {}
        self._pages: dict[str, Page] = {}
        self.problems: list[Diagnostic] = []

    def edit(self) -> None:
        """Make all changes in the documents."""
        new = [spec for a, spec in self._changes.items() if spec is not None and a not in self._objects]
        for address, spec in self._changes.items():
            before = self._objects.get(address)
            with self._refusing(address):
                if spec is None:
                    self._remove(address)
                elif before is not None:
                    self._change(address, before, spec)
        for spec, item in nest_items(new, self._classes):
            with self._refusing(spec.address):
                self._add(spec, item)

    @contextmanager
    def _refusing(self, address: Address) -> Iterator[None]:
        try:
            yield
        except CannotEditError as error:
            self.refuse(address, str(error))

    def texts(self) -> dict[str, str]:
        """The new texts of changed pages. A document that can't be written is a problem."""
        texts: dict[str, str] = {}
        for file, page in self._pages.items():
            try:
                text = page.document.text()
            except CannotEditError as error:
                own = [a for a in self._changes if (at := self._places.get(a)) and at.file == file]
                # a file without any of them would get new ones
                for address in own or self._changes:
                    self.refuse(address, str(error))
                continue
            if text != page.text:
                texts[file] = text
        return texts

    def refuse(self, address: Address, why: str) -> None:
        """Report once that an object can't be edited, with the manual edit as a hint."""
        detail, at = f"{address}: {why}.", self._places.get(address)
        hint = "edit by hand: it should stay unchanged"
        if address in self._changes:
            hint = _by_hand(self._objects.get(address), self._changes[address])
        if not any(problem.detail.startswith(f"{address}: ") for problem in self.problems):
            summary = "manifest can't be edited safely"
            self.problems.append(Diagnostic("cannot-edit", summary, detail, hint, at))

    def _page(self, file: str) -> Page:
        if file not in self._pages:
            self._pages[file] = open_page(file, self._texts, self._sections)
        return self._pages[file]

    @cached_property
    def _editable(self) -> dict[str, Page]:
        """Every file that can be edited."""
        pages: dict[str, Page] = {}
        for file in self._texts:
            with suppress(CannotEditError):
                pages[file] = self._page(file)
        return pages

    @cached_property
    def _families(self) -> Mapping[tuple[str, KeyPart], set[str]]:
        """The files that declare objects of a kind and a first part of the key, such as an alias's model."""
        files: defaultdict[tuple[str, KeyPart], set[str]] = defaultdict(set)
        for address, at in self._places.items():
            files[address.kind, address.key[0]].add(at.file)
        return files

    def _item(self, address: Address) -> tuple[Page, Item]:
        at = self._places.get(address)
        if at is None:
            raise CannotEditError("its place is unknown")
        page = self._page(at.file)
        item = page.items.get((at.line, at.column))
        if item is None or item.shape.spec.kind != address.kind:
            raise CannotEditError("it comes from an anchor, a merge or a template")
        return page, item

    def _remove(self, address: Address) -> None:
        page, item = self._item(address)
        nest = item.shape.nest
        page.document.drop(item.holder, item.index, keep=nest is None or nest.claims)

    def _change(self, address: Address, before: Spec, after: Spec) -> None:
        page, item = self._item(address)
        new, nest = after.written(), item.shape.nest
        if nest is None or nest.map_to is None:
            amend(page.document, item.node, before.written(), new, type(after))
        elif remaining_fields(new, nest).keys() == set(nest.map_to):
            page.document.put(item.node, new[nest.map_to[1]])
        else:
            raise CannotEditError("it needs more than a key and a value: declare it in a section")

    def _add(self, spec: Spec, item: dict[str, Any]) -> None:
        """Write an object where it belongs."""
        parents = list(self._parents(spec, item))
        for document, node, nest in parents:
            if (holder := node.get(nest.field)) is not None:
                document.add(holder, _entry(nest, item))
                return
        if (section := self._section_for(spec)) is not None:
            section[0].add(section[1], [item])
            return
        for document, node, nest in parents:
            if not node.flow and not nest.claims:
                document.add_field(node, nest.field, _entry(nest, item))
                return
        self._page(self._file_for(spec)).document.add_field(None, spec.section, [item])

    def _parents(self, spec: Spec, item: dict[str, Any]) -> Iterator[tuple[Document, Node, Nest]]:
        """The places of the declared, remaining objects that can contain this one with all of its fields."""
        for nest in spec.nests:
            fits = all(getattr(spec, name) == value for name, value in nest.constants.items())
            is_whole = nest.map_to is None or remaining_fields(item, nest).keys() == set(nest.map_to)
            if not fits or not is_whole or nest.section not in self._by_section:
                continue
            parent = parent_of(spec, nest, self._by_section[nest.section])
            if self._changes.get(parent, self._objects.get(parent)) is None or parent not in self._objects:
                continue
            with suppress(CannotEditError):
                page, entry = self._item(parent)
                if entry.node.sort == "mapping":
                    yield page.document, entry.node, nest

    def _section_for(self, spec: Spec) -> tuple[Document, Node] | None:
        """A section of its kind: one in a file with its siblings, in its parent's file, any."""
        siblings = self._families.get((spec.kind, spec.address.key[0]), set())
        sections = {
            file: (page.document, node)
            for file, page in self._editable.items()
            if (node := page.section(spec.section)) is not None
        }
        own = self._file_for(spec) if sections else ""
        best = min(sections, key=lambda file: (file not in siblings, file != own), default="")
        return sections.get(best)

    def _file_for(self, spec: Spec) -> str:
        """The file of an object that it refers to, if it can be edited; else the first that can."""
        files = [at.file for parent in spec.refs() if (at := self._places.get(parent)) is not None]
        for file in [*files, *self._editable]:
            if file in self._editable:
                return file
        raise CannotEditError("no manifest can be edited")


def _entry(nest: Nest, item: dict[str, Any]) -> Any:
    """An item inside its parent: a list or a mapping of one."""
    rest = remaining_fields(item, nest)
    return [rest] if nest.map_to is None else {str(rest[nest.map_to[0]]): rest[nest.map_to[1]]}


def amend(
    document: Document,
    node: Node,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    part: type[Part] | None,
) -> None:
    """Change a mapping from `before` to `after`. `part`: the class that reads it, if any."""
    for name in [*before, *(name for name in after if name not in before)]:
        if name in before and name in after and before[name] == after[name]:
            continue
        index = node.index(name)
        if index is None and name in before:
            raise CannotEditError(f"{quote(name)} comes from an anchor or a template")
        if name not in after:
            assert index is not None
            document.drop(node, index)
        elif index is None:
            document.add(node, {name: plain_data(after[name])})
        else:
            _change_value(document, node.items[index], before.get(name), after[name], part, name)


def _change_value(
    document: Document, node: Node, before: Any, after: Any, part: type[Part] | None, name: str
) -> None:
    inner = shapes(part).get(name, (None, False))[0] if part else None
    if isinstance(before, Mapping) and isinstance(after, Mapping) and node.sort == "mapping":
        amend(document, node, before, after, inner)
        return
    key = dict(find_markers(part, ByKey)).get(name) if part else None
    if key is not None and inner is not None and key.field not in inner.model_fields:
        # the text has no such field to find an item by
        key = None
    unordered = part is not None and name in find_fields(part, Unordered)
    if node.sort != "list" or not (key or unordered):
        document.put(node, plain_data(after))
        return

    # a list whose order means nothing
    olds = {str(item[key.field] if key else item): item for item in before}
    news = {str(item[key.field] if key else item): item for item in after}
    names = [item.get(key.field) if key else item for item in node.items]
    indexes = {node.value: index for index, node in enumerate(names) if node is not None}
    if indexes.keys() != olds.keys():
        raise CannotEditError("an item of its lists comes from an anchor, a merge or a template")
    for name, index in indexes.items():
        if name not in news:
            document.drop(node, index)
        elif key and olds[name] != news[name]:
            amend(document, node.items[index], olds[name], news[name], inner)
    for name, item in news.items():
        if name not in olds:
            document.add(node, [plain_data(item)])


def _by_hand(before: Spec | None, after: Spec | None) -> str:
    """The manual edit. Of a field with several values it has only the name."""
    if after is None:
        return "edit by hand: remove it"
    old, new = before.written() if before else {}, after.written()
    fields = [_describe(name, value) for name, value in new.items() if old.get(name) != value]
    removals = [quote(name) for name in old if name not in new]
    steps = [f"{verb} {', '.join(each)}" for verb, each in (("set", fields), ("remove", removals)) if each]
    return f"edit by hand: {' and '.join(steps)}"


def _describe(name: str, value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        return quote(name)
    return quote(in_line({name: value})[1:-1])
