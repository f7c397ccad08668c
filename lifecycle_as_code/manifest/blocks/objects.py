"""What a manifest says about objects rather than what they are: `lifecycle:`, `moved:`, `removed:`,
`import:`.

The words are Terraform's. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, get_args

from pydantic import Field

from ...model.diagnostics import Diagnostic, Source
from ...model.snapshot import Lifecycle, Move
from ...model.spec import Address, Derived, Part, Spec, fields_marked, key_fields, parse_address
from ..convert import read_part
from ..wording import REFUSED, bad_value
from ..yaml.nodes import Map, Seq
from ..yaml.report import Report, guess, problem, shown

LIFECYCLE: Final = "lifecycle"
"""Beside any object's own fields."""


class LifecycleBlock(Part):
    """How an object may change, whatever it is."""

    prevent_destroy: bool | None = None
    """`true`: no plan deletes the object, although its declaration is removed. The mark stays until `false`
    was applied, or a plan is made with `--allow=protected`."""
    ignore_changes: tuple[str, ...] = ()
    """Fields, such as `description` or `tags.team`, that are given to a new object and then left as they
    are."""


class MovedBlock(Part):
    """An object that has another name from now on. Only models and experiments can be renamed.

    Sources of versions that name the model as it was called (`models:/<name>/<version>`) stay as they are,
    here as in MLflow: a version keeps the source that it was registered with."""

    from_: Annotated[str, Field(alias="from")]
    """The address until now, `registered_model.fraud`."""
    to: str
    """The address from now on; it is the one that is declared."""


class RemovedBlock(Part):
    """An object that is no longer managed here, and stays as it is."""

    from_: Annotated[str, Field(alias="from")]
    """Its address. What was nested in it goes along unless it is declared elsewhere."""


class ImportBlock(Part):
    """An object that is there already and is managed here from now on."""

    to: str
    """Its address, which is declared as well. What differs is changed by the same apply."""


BLOCKS: Final[Mapping[str, type[Part]]] = {
    "moved": MovedBlock,
    "removed": RemovedBlock,
    "import": ImportBlock,
}
"""The sections that hold no objects."""


class Blocks:
    """Gathers the blocks of all files."""

    def __init__(self, specs: Mapping[str, type[Spec]]) -> None:
        self._specs = specs
        self.lifecycles: dict[Address, Lifecycle] = {}
        self.moves: list[Move] = []
        self.removals: dict[Address, Source | None] = {}
        self.imports: dict[Address, Source | None] = {}

    def lifecycle(self, spec: Spec, holder: Map, report: Report) -> None:
        """Read `lifecycle:` of one object."""
        node = holder[LIFECYCLE]
        values = read_part(node, LifecycleBlock, LIFECYCLE, holder, LIFECYCLE, report)
        if values is REFUSED or not isinstance(values, Mapping) or REFUSED in values.values():
            return
        ignored = tuple(values.get("ignore_changes", ()))
        if REFUSED in ignored:
            return
        for index, name in enumerate(ignored):
            if wrong := _unknown_field(type(spec), name):
                report.add("unknown-field", node["ignore_changes"].place(index), *wrong)
        self.lifecycles[spec.address] = Lifecycle(values.get("prevent_destroy"), ignored)

    def section(self, name: str, items: Any, holder: Map, report: Report) -> None:
        """Read a section of blocks."""
        if items.__class__ is not Seq:
            bad_value(items, holder, name, report, "a list", secret=False)
            return
        for index, node in enumerate(items):
            values = read_part(node, BLOCKS[name], name, items, index, report)
            if values is REFUSED or not isinstance(values, Mapping):
                continue
            read = {
                key: self._address(values[key], node, key, report) for key in ("from", "to") if key in values
            }
            if None not in read.values():
                self._keep(name, read, report.source(node.at))

    def _keep(self, name: str, read: Mapping[str, Any], at: Source) -> None:
        match name, read:
            case "moved", {"from": before, "to": after}:
                self.moves.append(Move(before, after, at))
            case "removed", {"from": before}:
                self.removals[before] = at
            case "import", {"to": after}:
                self.imports[after] = at

    def _address(self, text: Any, node: Map, key: str, report: Report) -> Address | None:
        if not isinstance(text, str):
            return None
        try:
            return parse_address(text, self._specs)
        except ValueError as error:
            report.add("bad-value", node.place(key), f"{error}.")
            return None

    def conflicts(self, objects: Mapping[Address, Spec]) -> Iterator[Diagnostic]:
        """What the blocks say against what is declared. To be asked once all files are read."""
        for address, at in self.removals.items():
            if address in objects:
                detail = f"{address} is to be removed from the stack, and is still declared."
                yield problem("contradiction", detail, "remove its declaration, or the `removed:` block", at)
        for address, at in self.imports.items():
            if address not in objects:
                detail = f"{address} is to be imported, and isn't declared."
                hint = f"declare it, or let `lac import {address.quoted}` write the YAML"
                yield problem("contradiction", detail, hint, at)


def _unknown_field(spec: type[Spec], name: str) -> tuple[str, str] | None:
    """What is wrong with a field that is to be ignored, and the way out."""
    field, dot, key = name.partition(".")
    known = [n for n in spec.model_fields if n not in {*fields_marked(spec, Derived), *key_fields(spec)}]
    if field not in known:
        return f"{shown(name)} is not a field of {spec.kind} that can change.", guess(field, known)
    if dot and not (key and is_mapping(spec.model_fields[field].annotation)):
        return f"{shown(name)}: of `{field}` nothing can be named by itself.", f"write `{field}`"
    return None


def is_mapping(annotation: Any) -> bool:
    """Whether a field of this type takes a mapping."""
    return any(
        getattr(inner, "__origin__", inner) is Mapping or "Mapping" in str(inner)
        for inner in (annotation, *get_args(annotation))
    )
