"""Nodes to specs: each item of each section is read by its shape and checked by its Spec class. Pure.

Sugar unfolds to objects of its own. Every problem is reported at its place; `objects`, `places` and `scopes`
are complete only if no problem was reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..model.diagnostics import Diagnostic, LacError, Source
from ..model.policy import SECTIONS
from ..model.selector import slots
from ..model.snapshot import Claim
from ..model.spec import Address, Spec
from ..model.text import HIDDEN
from .blocks.objects import BLOCKS, LIFECYCLE, Blocks
from .convert import SECRET_FIELDS
from .shapes import EXCLUSIVE, Shape, read_exclusive, shapes_of
from .value_errors import REFUSED, bad_value, describe_error, missing_field, unknown_field
from .yaml.nodes import Map, Mark, Plain, Seq
from .yaml.report import Report, guess, is_typo, problem, quote
from .yaml.text import START

if TYPE_CHECKING:
    from .blocks.policies import RuleBook

LEAVE_OUT = "if this file isn't a manifest, list your manifests under `include:` in lac.yaml"
_MOST_GUESSED = 20
MAX_NAME = 500
"""The longest part of an address, in characters. No store accepts longer names."""


class Binder:
    """Gathers the objects of all files, each declared once."""

    def __init__(self, specs: Mapping[str, type[Spec]], settings: frozenset[str] = frozenset()) -> None:
        """`settings`: names of lac.yaml's settings, for a hint."""
        self._sections = shapes_of(specs)
        self._known = [*self._sections, *BLOCKS, *SECTIONS]
        self._settings = settings
        self.blocks = Blocks(specs)
        self._specs = specs
        self.objects: dict[Address, Spec] = {}
        self.places: dict[Address, Source] = {}
        self.scopes: dict[Address, Claim] = {}
        self.selected_at: dict[tuple[Address, tuple[str, ...]], Source] = {}
        self.has_rules = False
        self._looks: dict[Address, Address] = {}
        self._alike: set[Address] = set()

    @cached_property
    def rules(self) -> RuleBook:
        """The policies and the like; `has_rules` tells whether any file has a section of them."""
        # imported here: most stacks have none
        from .blocks.policies import RuleBook

        self.has_rules = True
        return RuleBook(self._specs)

    def file(self, root: Any, report: Report) -> None:
        """Bind the sections of one file. Keys that begin with `x-` are the writer's own (for anchors)."""
        if root is None or (isinstance(root, Plain) and root.value is None):
            return
        if not isinstance(root, Map):
            mark: Mark = root.at if isinstance(root, Seq) else START
            report.add("not-a-mapping", mark, "A manifest has sections, such as `registered_models:`.")
            return
        if not self.recognizes(root, b""):
            unknown = next(name for name in root if not name.startswith("x-"))
            detail = "None of the file's keys is a section, such as `registered_models`."
            report.add("unknown-section", root.place_of_key(unknown), detail, LEAVE_OUT)
            return
        for name, items in root.items():
            shape = self._sections.get(name)
            if shape is not None:
                self._items(shape, items, root, name, {}, report)
            elif name in BLOCKS:
                self.blocks.section(name, items, root, report)
            elif name in SECTIONS:
                self.rules.section(name, items, root, report)
            elif not name.startswith("x-"):
                self._unknown_section(root, name, report)

    def recognizes(self, root: Any, data: bytes) -> bool:
        """Whether a file is likely to be a manifest: it has one of the sections, or nearly so, or nothing but
        settings. `root`: the tree of `data`, if it could be read."""
        if not isinstance(root, Map):
            return self._section_lines.search(data) is not None
        names = [name for name in root if not name.startswith("x-")]
        return (
            not set(names).isdisjoint(self._known)
            or self._settings.issuperset(names)
            or any(is_typo(name, self._known) for name in names[:_MOST_GUESSED])
        )

    @cached_property
    def _section_lines(self) -> re.Pattern[bytes]:
        names = "|".join(map(re.escape, self._known))
        return re.compile(rf"^[ {{]*[\"']?({names})[\"']? *:".encode(), re.MULTILINE)

    def _unknown_section(self, root: Map, name: str, report: Report) -> None:
        hint = "settings belong in lac.yaml" if name in self._settings else guess(name, self._known)
        report.add("unknown-section", root.place_of_key(name), f"There is no section {quote(name)}.", hint)

    def _items(
        self, shape: Shape, items: Any, holder: Map, key: str, constants: Mapping[str, Any], report: Report
    ) -> None:
        nest = shape.nest
        if nest is not None and nest.map_to is not None:
            if items.__class__ is not Map:
                bad_value(items, holder, key, report, "a mapping", secret=False)
                return
            for name in items:
                self._item(shape, _pair(items, name, nest.map_to), items, name, constants, report)
            return
        if nest is None and items.__class__ is Plain and items.value is None:
            return
        if items.__class__ is not Seq:
            bad_value(items, holder, key, report, "a list", secret=False)
            return
        for index, item in enumerate(items):
            self._item(shape, item, items, index, constants, report)

    def _item(
        self, shape: Shape, node: Any, holder: Any, key: Any, constants: Mapping[str, Any], report: Report
    ) -> None:
        if node.__class__ is not Map:
            bad_value(node, holder, key, report, "a mapping", secret=False)
            return
        before = len(report.problems)
        values = dict(constants)
        fields = shape.fields
        for name, value in node.items():
            convert = fields.get(name)
            if convert is not None:
                values[name] = convert(value, node, name, report)
            elif name in shape.filled_in:
                detail = f"`{name}` comes from the object around this {shape.what}."
                report.add("unknown-field", node.place_of_key(name), detail, "remove it")
            elif name not in shape.known:
                unknown_field(node, name, shape.what, shape.known, report, shape.spec.way_outs)
        for name in sorted(shape.required - node.keys()):
            missing_field(node, name, shape.what, report)
        spec = _validate(shape.spec, values, node, report, before)
        if spec is not None:
            self._declare(spec, node.at, report)
            for slot in slots(spec):
                mark, *_ = _follow(node, slot.loc)
                self.selected_at.setdefault((slot.address, slot.path), report.source(mark))
            if LIFECYCLE in node:
                self.blocks.lifecycle(spec, node, report)
        if not node.keys() <= fields.keys():
            self._unfold(shape, node, spec, report)

    def _declare(self, spec: Spec, at: Mark, report: Report) -> None:
        address = spec.address
        for part in address.key:
            if part.__class__ is str and len(part) > MAX_NAME:
                detail = f"The name {quote(part)} has {len(part):,} characters; the limit is {MAX_NAME}."
                report.add("bad-value", at, detail)
                return
        if address in self.objects:
            detail = f"{address} is already declared at {self.places[address]}."
            report.add("declared-twice", at, detail, "remove one of the two")
            return
        self._compare(spec, address, at, report)
        self.objects[address] = spec
        self.places[address] = report.source(at)

    def _compare(self, spec: Spec, address: Address, at: Mark, report: Report) -> None:
        """Refuse a name that looks like another: a reviewer can't tell them apart."""
        if all(part.isascii() for part in address.key if isinstance(part, str)):
            # names in ASCII differ visibly from each other
            first = self._looks.get(address, address)
        else:
            look = visible_address(address)
            first = self._looks.setdefault(look, look if look in self.objects else address)
        if first == address:
            return
        self._alike.add(address)
        # a problem of the parent's name is reported at the parent
        if any(other in self._alike for other in spec.refs()):
            return
        detail = f"{address} looks like {first}, declared at {self.places[first]}."
        hint = f"use the same name, or clearly different ones: {address.name!a} is not {first.name!a}"
        report.add("look-alike", at, detail, hint)

    def _unfold(self, shape: Shape, node: Map, spec: Spec | None, report: Report) -> None:
        """Unfold the sugar in an item, even if the item itself has problems."""
        exclusive = False
        if EXCLUSIVE in node and shape.claims:
            exclusive = read_exclusive(node[EXCLUSIVE], node, EXCLUSIVE, report) == "all"
            if node.keys().isdisjoint(shape.claims):
                claim = shape.claims[0]
                detail = f"`{EXCLUSIVE}` applies to `{claim}`, which is missing."
                mark, hint = node.place_of_key(EXCLUSIVE), f"add `{claim}: []`, or remove it"
                report.add("bad-value", mark, detail, hint)
        for name, inner in shape.nests.items():
            if name not in node or inner.nest is None:
                continue
            fills = {field: getattr(spec, source, REFUSED) for field, source in inner.nest.fills.items()}
            if spec is not None and inner.nest.claims:
                at = report.source(node.place_of_key(name))
                self.scopes.setdefault(spec.address, Claim(exclusive, at))
            self._items(inner, node[name], node, name, {**inner.nest.constants, **fills}, report)


def visible_address(address: Address) -> Address:
    """The visible form of an address: two addresses with the same one can't both be declared."""
    return Address(address.kind, tuple(visible_form(p) if isinstance(p, str) else p for p in address.key))


def visible_form(text: str) -> str:
    """The visible form of `text`: without invisible characters, in one spelling of what Unicode treats as the
    same (NFKC). ASCII stays as it is."""
    if text.isascii():
        return text
    # imported here: most names don't need it
    import unicodedata

    # control and format characters, unassigned ones and surrogates
    invisible = ("Cc", "Cf", "Cn", "Cs")
    visible = (char for char in HIDDEN.sub("", text) if unicodedata.category(char) not in invisible)
    return unicodedata.normalize("NFKC", "".join(visible))


def _pair(items: Map, name: str, fields: tuple[str, str]) -> Map:
    """An entry of a mapping as the item that it stands for: `champion: 3` as {alias, version}."""
    at = items.place_of_key(name)
    item = Map(at)
    # an ambiguous key is treated like an ambiguous value
    item[fields[0]] = Plain(name) if name in items.odd else name
    item[fields[1]] = items[name]
    item.marks = {fields[0]: (at, at), fields[1]: (at, items.place(name))}
    return item


def _validate(
    spec: type[Spec], values: dict[str, Any], node: Map, report: Report, before: int
) -> Spec | None:
    """The spec; None if the report has problems from index `before` on, or with further ones reported."""
    earlier = report.problems[before:]
    try:
        result = spec.model_validate(values)
        return None if earlier else result
    except ValidationError as error:
        _explain(error.errors(include_url=False, include_input=False), values, node, report, earlier)
    except LacError as error:
        at = report.source(node.at)
        for diagnostic in error.diagnostics:
            report.note(replace(diagnostic, at=diagnostic.at or at))
    return None


def _explain(
    errors: Sequence[Any], values: Mapping[str, Any], node: Map, report: Report, earlier: list[Diagnostic]
) -> None:
    """Report pydantic's errors at their places, without those that only follow from another.

    Types are checked before: an error about one comes from a union's other branch, and there may be one
    about a part of the same value. A list that lost an item to an error is reported as too short. Above an
    error there is often another. A mapping with an unknown key can't be checked as a whole.
    """
    above = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    places = {known.at for known in earlier}
    unknown = {known.at for known in earlier if known.code == "unknown-field"}
    targets = [_follow(node, error["loc"]) for error in errors]
    deeper = {steps[:length] for *_, steps in targets for length in range(len(steps))}
    by_place: dict[Source, tuple[bool, Diagnostic]] = {}
    for error, (mark, value, path, secret, steps) in zip(errors, targets, strict=True):
        loc, sort = error["loc"], error["type"]
        if earlier and sort in ("missing", "extra_forbidden", "too_short"):
            continue
        source = report.source(mark)
        if value is REFUSED or _is_refused(values, loc) or loc in above or source in places:
            continue
        if isinstance(value, Map) and sort == "literal_error":
            # of the union's other branch
            continue
        if isinstance(value, Map) and any(report.source(value.place_of_key(key)) in unknown for key in value):
            continue
        of_type = sort.endswith("_type")
        if of_type and steps in deeper:
            continue
        if source not in by_place or (by_place[source][0] and not of_type):
            detail = describe_error(error, value, path, secret)
            by_place[source] = of_type, problem("bad-value", detail, at=source)
    for _, diagnostic in by_place.values():
        report.note(diagnostic)


def _is_refused(values: Any, loc: tuple[Any, ...]) -> bool:
    """Whether the value at pydantic's location, or one around it, was refused. Steps that aren't in `values`
    are pydantic's own."""
    for step in loc:
        if values is REFUSED:
            return True
        if (isinstance(values, Mapping) and step in values) or (
            isinstance(values, tuple) and step in range(len(values))
        ):
            values = values[step]
    return values is REFUSED


def _follow(node: Map, loc: tuple[Any, ...]) -> tuple[Mark, Any, str, bool, tuple[Any, ...]]:
    """Find pydantic's location in the manifest: mark, value, path, whether it is a secret's, and its steps.

    Steps that don't exist in the manifest are pydantic's own (the branch of a union) or were filled in.
    """
    mark: Mark = node.at
    here: Any = node
    holder: Any = node
    path: list[str] = []
    steps: tuple[Any, ...] = ()
    for step in loc:
        if step in here if isinstance(here, Map) else isinstance(here, Seq) and step in range(len(here)):
            holder, mark, here = here, here.place(step), here[step]
            # the place tells which item it is
            path = [] if isinstance(step, int) else [*path, str(step)]
            steps = (*steps, step)
        elif step == "[key]" and path and isinstance(holder, Map):
            return holder.place_of_key(path[-1]), path[-1], ".".join(path), False, steps
        elif not path:
            path.append(str(step))
    return mark, here, ".".join(path), not SECRET_FIELDS.isdisjoint(steps), steps
