"""Manifests rewritten in place, so that they declare what is wanted; comments and layout stay. Pure.

Only the values that differ are touched. `sheet` says what goes along with a removed entry. A section, or a
list that claims its scope, that loses its last item becomes `[]`: there it says where the next one belongs,
here it still claims. Other sugar goes with its last entry.

What is new is written beside what is like it: into its parent's sugar if there is such, else into a section
of its kind (one in a file with its siblings, in its parent's file, any), else as sugar in its parent where
that is written in block style, else in a section at the end of its parent's file or of the first one.

Never edited: `*.j2` files, and values that come from anchors, merge keys or templates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

from ..model.diagnostics import Diagnostic, Source, refuse
from ..model.spec import Address, KeyPart, Nest, Spec
from .amend import amend
from .lines import CannotEditError
from .outline import Node
from .page import Item, Page, opened
from .readback import differences, said
from .shapes import shapes_of
from .write import in_line, nested, parent_of, without_given
from .yaml.report import shown

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
    `wanted`: no longer declared. Specs are compared as a person writes them. LacError `cannot-edit` with
    every object that can't be edited safely; also where the new texts, read back, don't declare exactly what
    is wanted.
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
        self._pages: dict[str, Page | CannotEditError] = {}
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

    def _page(self, file: str) -> Page:
        """A file's page, made once. CannotEditError, the same each time, where it can't have one."""
        if file not in self._pages:
            try:
                self._pages[file] = opened(file, self._texts, self._sections)
            except CannotEditError as error:
                self._pages[file] = error
        page = self._pages[file]
        if isinstance(page, CannotEditError):
            raise page
        return page

    def _item(self, address: Address) -> tuple[Page, Item]:
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

    @cached_property
    def _open_pages(self) -> dict[str, Page]:
        """The files that can be edited."""
        pages: dict[str, Page] = {}
        for file in self._texts:
            with suppress(CannotEditError):
                pages[file] = self._page(file)
        return pages

    @cached_property
    def _families(self) -> Mapping[tuple[str, KeyPart], set[str]]:
        """By kind and first part of the key, such as an alias's model: the files that declare some."""
        files: defaultdict[tuple[str, KeyPart], set[str]] = defaultdict(set)
        for address, at in self._places.items():
            files[address.kind, address.key[0]].add(at.file)
        return files

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
        amend(page.sheet, item.node, old, new, type(after))

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

    def _parents(self, spec: Spec, item: dict[str, Any]) -> Iterator[tuple[str, Page, Node, Nest]]:
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
        siblings = self._families.get((spec.kind, spec.address.key[0]), set())
        own = self._file_for(spec)
        having = [
            (file not in siblings, file != own, page, node)
            for file, page in self._open_pages.items()
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
        for parent in spec.refs():
            if (at := self._places.get(parent)) is not None and at.file in self._open_pages:
                return at.file
        for file in self._open_pages:
            return file
        raise CannotEditError("there is no file that it could be written to")


def _gathered(entries: list[tuple[Nest, dict[str, Any], Spec]]) -> Any:
    """What a new field of sugar holds."""
    pairs: dict[str, Any] = {}
    for nest, rest, _ in entries:
        if nest.map_to is None:
            return [rest for _, rest, _ in entries]
        key, value = nest.map_to
        pairs[rest[key]] = rest[value]
    return pairs


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
