"""Manifests rewritten in place, so that they declare what is wanted; comments and layout stay. Pure.

Only the values that differ are touched. `sheet` says what goes along with a removed entry. A section, or a
list that claims its scope, that loses its last item becomes `[]`: there it says where the next one belongs,
here it still claims. Other sugar goes with its last entry.

What is new is written beside what is like it: into its parent's sugar if there is such, else into a section of
its kind (one that has its siblings, its parent's file's, any), else as sugar in its parent where that is
written in block style, else in a section at the end of its parent's file or of the first one.

Never edited: `*.j2` files, and values that come from anchors, merge keys or templates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..diagnostics import Diagnostic, Source, refuse
from ..spec import Address, ByKey, Nest, Part, Spec, Unordered, fields_marked, marked, shapes
from .outline import Node
from .readback import differences, said
from .report import Report, shown
from .shapes import Shape, shapes_of
from .sheet import CannotEditError, Sheet
from .write import in_line, nested, parent_of, without_given
from .yaml import parse

CODE: Final = "cannot-edit"
SUMMARY: Final = "manifest can't be edited safely"
TEMPLATES: Final = ".j2"

Wanted = Mapping[Address, Spec | None]


def edited(
    texts: Mapping[str, str],
    places: Mapping[Address, Source],
    declared: Mapping[Address, Spec],
    wanted: Wanted,
    classes: Mapping[str, type[Spec]],
) -> dict[str, str]:
    """The files that have to change for `wanted` to be declared, each with its whole text to be.

    `texts` by `Source.file`, with their own line ends. `declared` and `places` as loading them gave. None in
    `wanted`: no longer declared. Specs are compared as a person writes them. LacError `cannot-edit` with every
    object that can't be edited safely; also if the new texts, read back, don't declare exactly what is wanted.
    """
    changes = {address: spec for address, spec in wanted.items() if said(declared.get(address)) != said(spec)}
    editor = _Editor(texts, places, declared, changes, classes)
    editor.edit()
    refuse(editor.problems)
    changed = editor.texts()
    refuse(editor.problems)
    for address, why in differences(texts, changed, places, declared, changes, classes):
        editor.refuse(address, why)
    refuse(editor.problems)
    return changed


@dataclass(frozen=True, slots=True)
class _Item:
    """One object's entry in a collection, and the shape that it is read by."""

    holder: Node
    index: int
    shape: Shape

    @property
    def node(self) -> Node:
        """What is written there: a mapping, or in sugar that is a mapping only a value."""
        return self.holder.items[self.index]

    @property
    def claims(self) -> bool:
        return self.shape.nest is not None and self.shape.nest.claims


class _Page:
    """One file: its sheet, its sections, and the items on it by line and column."""

    def __init__(self, text: str, sections: Mapping[str, Shape]) -> None:
        self.text = text
        self.sheet = Sheet(text)
        self.items: dict[tuple[int, int], _Item] = {}
        root = self.sheet.root
        if root is not None:
            for key, node in zip(root.keys, root.items, strict=True):
                if shape := sections.get(key.value):
                    self._find(shape, node)

    def section(self, name: str) -> Node | None:
        """The list of a section, or a scalar where it says nothing; None where there is no section."""
        node = self.sheet.root.get(name) if self.sheet.root else None
        return node if node is not None and node.sort != "alias" else None

    def _find(self, shape: Shape, holder: Node) -> None:
        pairs = shape.nest is not None and shape.nest.map_to is not None
        for index, node in enumerate(holder.items):
            item = _Item(holder, index, shape)
            self.items[holder.keys[index].at if pairs else node.at] = item
            if node.sort == "mapping":
                for name, inner in shape.nests.items():
                    if (below := node.get(name)) is not None:
                        self._find(inner, below)


class _Editor:
    """Turns what is wanted into changes of sheets. Problems are gathered, one an object."""

    def __init__(
        self,
        texts: Mapping[str, str],
        places: Mapping[Address, Source],
        declared: Mapping[Address, Spec],
        changes: Wanted,
        classes: Mapping[str, type[Spec]],
    ) -> None:
        self._texts, self._places, self._declared = texts, places, declared
        self._changes, self._classes = changes, classes
        self._sections = shapes_of(classes)
        self._by_section = {spec.section: spec for spec in classes.values()}
        self._pages: dict[str, _Page | CannotEditError] = {}
        self.problems: list[Diagnostic] = []
        self._refused: set[Address] = set()

    def edit(self) -> None:
        for address, spec in self._changes.items():
            before = self._declared.get(address)
            if before is None:
                continue
            try:
                if spec is None:
                    self._remove(address)
                else:
                    self._change(address, before, spec)
            except CannotEditError as error:
                self.refuse(address, str(error))
        added = [s for a, s in self._changes.items() if s is not None and a not in self._declared]
        self._add_all(added)

    def texts(self) -> dict[str, str]:
        """The pages' new texts, where they changed. A sheet that can't give one is a problem."""
        changed: dict[str, str] = {}
        for file, page in self._pages.items():
            if isinstance(page, CannotEditError):
                continue
            try:
                text = page.sheet.text()
            except CannotEditError as error:
                for address in self._on(file):
                    self.refuse(address, str(error))
                continue
            if text != page.text:
                changed[file] = text
        return changed

    def refuse(self, address: Address, why: str) -> None:
        """Note that an object can't be edited, once."""
        if address in self._refused:
            return
        self._refused.add(address)
        self.problems.append(
            Diagnostic(
                CODE,
                SUMMARY,
                f"{address}: {why}.",
                _by_hand(self._declared.get(address), self._changes[address])
                if address in self._changes
                else "edit by hand: it should stay as it is",
                self._places.get(address),
            )
        )

    def _on(self, file: str) -> list[Address]:
        """The objects to change in one file; all of them where it holds none, since it gets some."""
        there = [a for a in self._changes if (at := self._places.get(a)) and at.file == file]
        return there or list(self._changes)

    # finding

    def _page(self, file: str) -> _Page:
        """A file's page, made once. CannotEditError, the same each time, where it can't have one."""
        if file not in self._pages:
            try:
                self._pages[file] = self._opened(file)
            except CannotEditError as error:
                self._pages[file] = error
        page = self._pages[file]
        if isinstance(page, CannotEditError):
            raise page
        return page

    def _opened(self, file: str) -> _Page:
        if file.endswith(TEMPLATES):
            raise CannotEditError(f"{shown(file)} is a template, so its text isn't the manifest's")
        if file not in self._texts:
            raise CannotEditError(f"the text of {shown(file)} isn't known")
        report = Report(file)
        parse(self._texts[file].encode(), report)
        if report.problems:
            raise CannotEditError(f"{shown(file)} can't be read: {report.problems[0].detail.rstrip('.')}")
        return _Page(self._texts[file], self._sections)

    def _item(self, address: Address) -> tuple[_Page, _Item]:
        at = self._places.get(address)
        if at is None:
            raise CannotEditError("its place isn't known")
        page = self._page(at.file)
        item = page.items.get((at.line, at.column))
        if item is None or item.shape.spec.kind != address.kind:
            raise CannotEditError(
                "it isn't written out there: it comes from an anchor, a merge or a template"
            )
        return page, item

    def _open_pages(self) -> Iterator[tuple[str, _Page]]:
        """The files that can be edited."""
        for file in self._texts:
            try:
                yield file, self._page(file)
            except CannotEditError:
                continue

    # removing and changing

    def _remove(self, address: Address) -> None:
        page, item = self._item(address)
        page.sheet.drop(item.holder, item.index, keep=item.shape.nest is None or item.claims)

    def _change(self, address: Address, before: Spec, after: Spec) -> None:
        page, item = self._item(address)
        old, new = before.written(), after.written()
        nest = item.shape.nest
        if nest is not None and nest.map_to is not None:
            if without_given(new, nest).keys() != set(nest.map_to):
                raise CannotEditError("it needs more than a key and a value: declare it in a section")
            page.sheet.put(item.node, new[nest.map_to[1]])
            return
        _change_fields(page.sheet, item.node, old, new, type(after))

    # adding

    def _add_all(self, specs: list[Spec]) -> None:
        """Each where it belongs; what makes a new field or section is gathered first."""
        fields: dict[tuple[str, Node, str], list[tuple[Nest, dict[str, Any], Spec]]] = defaultdict(list)
        for spec, item in nested(specs, self._classes):
            try:
                if not (self._add_to_sugar(spec, item) or self._add_to_section(spec, item)):
                    found = self._parent_in_blocks(spec, item)
                    if found is None:
                        self._page(self._file_for(spec)).sheet.add_to_section(spec.section, item)
                    else:
                        file, node, nest = found
                        fields[file, node, nest.field].append((nest, without_given(item, nest), spec))
            except CannotEditError as error:
                self.refuse(spec.address, str(error))
        for (file, node, field), entries in fields.items():
            try:
                self._page(file).sheet.add(node, _gathered(entries), field)
            except CannotEditError as error:
                for _, _, spec in entries:
                    self.refuse(spec.address, str(error))

    def _parents(self, spec: Spec, item: dict[str, Any]) -> Iterator[tuple[str, _Page, Node, Nest]]:
        """Where the objects are written that may hold this one: declared, staying, and able to say it all."""
        for nest in spec.nests:
            if nest.section not in self._by_section:
                continue
            if any(getattr(spec, name) != value for name, value in nest.constants.items()):
                continue
            if nest.map_to is not None and without_given(item, nest).keys() != set(nest.map_to):
                continue
            parent = parent_of(spec, nest, self._by_section[nest.section])
            if parent not in self._declared or self._changes.get(parent, self._declared[parent]) is None:
                continue
            try:
                page, found = self._item(parent)
            except CannotEditError:
                continue
            if found.node.sort == "mapping":
                yield self._places[parent].file, page, found.node, nest

    def _add_to_sugar(self, spec: Spec, item: dict[str, Any]) -> bool:
        for _, page, node, nest in self._parents(spec, item):
            holder = node.get(nest.field)
            if holder is None:
                continue
            rest = without_given(item, nest)
            if nest.map_to is None:
                page.sheet.add(holder, rest)
            else:
                key, value = nest.map_to
                page.sheet.add(holder, rest[value], str(rest[key]))
            return True
        return False

    def _add_to_section(self, spec: Spec, item: dict[str, Any]) -> bool:
        siblings = {
            at.file
            for address, at in self._places.items()
            if address.kind == spec.kind and address.key[:1] == spec.address.key[:1]
        }
        own = self._file_for(spec)
        having = [
            (file not in siblings, file != own, page, node)
            for file, page in self._open_pages()
            if (node := page.section(spec.section)) is not None
        ]
        if not having:
            return False
        _, _, page, node = min(having, key=lambda found: found[:2])
        page.sheet.add(node, item)
        return True

    def _parent_in_blocks(self, spec: Spec, item: dict[str, Any]) -> tuple[str, Node, Nest] | None:
        for file, _, node, nest in self._parents(spec, item):
            if not node.flow and not nest.claims:
                return file, node, nest
        return None

    def _file_for(self, spec: Spec) -> str:
        """The file of what this one refers to, if it can be edited; else the first that can."""
        can = [file for file, _ in self._open_pages()]
        for parent in spec.refs():
            if (at := self._places.get(parent)) is not None and at.file in can:
                return at.file
        if not can:
            raise CannotEditError("there is no file that it could be written to")
        return can[0]


def _gathered(entries: list[tuple[Nest, dict[str, Any], Spec]]) -> Any:
    """What a new field of sugar holds."""
    pairs: dict[str, Any] = {}
    for nest, rest, _ in entries:
        if nest.map_to is None:
            return [rest for _, rest, _ in entries]
        key, value = nest.map_to
        pairs[rest[key]] = rest[value]
    return pairs


# fields


def _change_fields(
    sheet: Sheet, node: Node, before: Mapping[str, Any], after: Mapping[str, Any], part: type[Part] | None
) -> None:
    """Make a mapping that says `before` say `after`. `part`: the class that it is read as, if one."""
    for name in [*before, *(name for name in after if name not in before)]:
        if name in before and name in after and before[name] == after[name]:
            continue
        index = node.index(name)
        if index is None and name in before:
            raise CannotEditError(f"{shown(name)} isn't written there: it comes from an anchor or a template")
        if name not in after:
            assert index is not None
            sheet.drop(node, index)
        elif index is None:
            sheet.add(node, after[name], name, _place_among(node, name, part))
        else:
            _change_value(sheet, node.items[index], before.get(name), after[name], part, name)


def _change_value(
    sheet: Sheet, node: Node, before: Any, after: Any, part: type[Part] | None, name: str
) -> None:
    inner = shapes(part).get(name, (None, False))[0] if part else None
    if isinstance(before, Mapping) and isinstance(after, Mapping) and node.sort == "mapping":
        _change_fields(sheet, node, before, after, inner)
        return
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and node.sort == "list":
        tell = _telling(part, name)
        if tell is not None:
            _change_items(sheet, node, before, after, inner, tell)
            return
        if len(before) == len(after) == len(node.items) and all(map(_alike, before, after, node.items)):
            for item, old, new in zip(node.items, before, after, strict=True):
                if isinstance(old, Mapping):
                    _change_fields(sheet, item, old, new, inner)
                elif old != new:
                    sheet.put(item, new)
            return
    sheet.put(node, _plain(after))


def _alike(before: Any, after: Any, node: Node) -> bool:
    """Whether an item can become the other by changes inside of it."""
    if isinstance(before, Mapping):
        return isinstance(after, Mapping) and node.sort == "mapping"
    return not isinstance(before, list | tuple) and not isinstance(after, Mapping | list | tuple)


@dataclass(frozen=True, slots=True)
class _Telling:
    """How the items of a list whose order means nothing are told apart: by a field, or as they are."""

    field: str | None

    def value(self, item: Any) -> str:
        return str(item[self.field] if self.field else item)

    def node(self, node: Node) -> str:
        held = node.get(self.field) if self.field else node
        if held is None or held.sort != "scalar":
            raise CannotEditError("an item of its lists comes from an anchor or a merge")
        return held.value


def _telling(part: type[Part] | None, name: str) -> _Telling | None:
    if part is None:
        return None
    by_key: dict[str, ByKey] = dict(marked(part, ByKey))
    if name in by_key:
        return _Telling(by_key[name].field)
    return _Telling(None) if name in fields_marked(part, Unordered) else None


def _change_items(
    sheet: Sheet, node: Node, before: Any, after: Any, inner: type[Part] | None, tell: _Telling
) -> None:
    olds = {tell.value(item): item for item in before}
    news = {tell.value(item): item for item in after}
    written = {tell.node(item): index for index, item in enumerate(node.items)}
    if written.keys() != olds.keys():
        raise CannotEditError("an item of its lists comes from a template")
    for name, index in written.items():
        if name not in news:
            sheet.drop(node, index)
        elif tell.field and olds[name] != news[name]:
            _change_fields(sheet, node.items[index], olds[name], news[name], inner)
    for name, item in news.items():
        if name not in olds:
            sheet.add(node, _plain(item))


def _place_among(node: Node, name: str, part: type[Part] | None) -> int | None:
    """The entry behind which a field comes: the last of those that its class names before it."""
    if part is None:
        return None
    earlier = list(part.model_fields)[: list(part.model_fields).index(name)]
    there = [index for index, key in enumerate(node.keys) if key.value in earlier]
    return max(there, default=None)


def _plain(value: Any) -> Any:
    """As lists and dicts, which is what the dumper and the sheet know."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


# what to say


def _by_hand(before: Spec | None, after: Spec | None) -> str:
    """What a person should do instead. Of what isn't one value only the name is told."""
    if after is None:
        return "edit by hand: remove it"
    old, new = before.written() if before else {}, after.written()
    differing = {name: value for name, value in new.items() if old.get(name) != value}
    told = [_told(name, value) for name, value in differing.items()]
    told += [f"no {shown(name)}" for name in old if name not in new]
    return f"edit by hand: it should say {', '.join(told)}"


def _told(name: str, value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        return f"{shown(name)} as wanted"
    return shown(in_line({name: value})[1:-1])
