"""The blocks about objects: `lifecycle:`, `moved:`, `removed:`, `import:`, named as in Terraform. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from ...model.diagnostics import Diagnostic, Source
from ...model.snapshot import Lifecycle, Move
from ...model.spec import Address, Derived, Part, Spec, find_fields, key_fields
from ..convert import read_part
from ..value_errors import REFUSED, bad_value, read_address
from ..yaml.nodes import Map, Seq
from ..yaml.report import Report, guess, problem, quote

LIFECYCLE: Final = "lifecycle"
"""A field that every object may have."""


class LifecycleBlock(Part):
    """How an object may change."""

    prevent_destroy: bool | None = None
    """`true`: no plan deletes the object, even after its declaration is removed. The protection ends when
    `false` is applied, or with `--allow=protected`."""
    ignore_changes: tuple[str, ...] = ()
    """Fields, such as `description` or `tags.team`, that lac sets on a new object and then ignores."""


class MovedBlock(Part):
    """A rename. Only models and experiments can be renamed.

    Sources of versions with the model's old name (`models:/<name>/<version>`) stay as they are, as in MLflow:
    a version keeps the source that it was registered with."""

    from_: Annotated[str, Field(alias="from")]
    """The old address, `registered_model.fraud`."""
    to: str
    """The new address, which is declared."""


class RemovedBlock(Part):
    """An object that the stack no longer manages. It isn't deleted."""

    from_: Annotated[str, Field(alias="from")]
    """Its address. Objects nested in it are released too, unless they are declared elsewhere."""


class ImportBlock(Part):
    """An existing object that the stack manages from now on."""

    to: str
    """Its address, which must be declared. The same apply also updates fields that differ."""


BLOCKS: Final[dict[str, type[Part]]] = {
    "moved": MovedBlock,
    "removed": RemovedBlock,
    "import": ImportBlock,
}
"""The sections of blocks."""


class Blocks:
    """The blocks of all files."""

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
        if values is REFUSED or REFUSED in values.values():
            return
        names = values.get("ignore_changes", ())
        for index, name in enumerate(names):
            if wrong := _unknown_field(type(spec), name):
                report.add("unknown-field", node["ignore_changes"].place(index), *wrong)
        self.lifecycles[spec.address] = Lifecycle(values.get("prevent_destroy"), names)

    def section(self, name: str, items: Any, holder: Map, report: Report) -> None:
        """Read a section of blocks."""
        if items.__class__ is not Seq:
            bad_value(items, holder, name, report, "a list", secret=False)
            return
        for index, node in enumerate(items):
            values = read_part(node, BLOCKS[name], name, items, index, report)
            if values is REFUSED:
                continue
            read = {
                key: read_address(text, node, key, self._specs, report) if isinstance(text, str) else None
                for key, text in values.items()
            }
            at = report.source(node.at)
            match name, read:
                case "moved", {"from": Address() as before, "to": Address() as after}:
                    self.moves.append(Move(before, after, at))
                case "removed", {"from": Address() as before}:
                    self.removals[before] = at
                case "import", {"to": Address() as after}:
                    self.imports[after] = at

    def conflicts(self, objects: Mapping[Address, Spec]) -> Iterator[Diagnostic]:
        """Contradictions between blocks and declarations. For use after all files are read."""
        for address, at in self.removals.items():
            if address in objects:
                detail = f"{address} has a `removed:` block, but is still declared."
                yield problem("contradiction", detail, "remove its declaration, or the `removed:` block", at)
        for address, at in self.imports.items():
            if address not in objects:
                detail = f"{address} has an `import:` block, but isn't declared."
                hint = f"declare it, or run `lac import {address.shell_word}` to write the YAML"
                yield problem("contradiction", detail, hint, at)


def _unknown_field(spec: type[Spec], name: str) -> tuple[str, str] | None:
    """The error in an ignored field, and a hint."""
    field, dot, key = name.partition(".")
    known = [n for n in spec.model_fields if n not in {*find_fields(spec, Derived), *key_fields(spec)}]
    if field not in known:
        return f"{quote(name)} is not a field of {spec.kind} that can change.", guess(field, known)
    if dot and not (key and is_mapping(spec.model_fields[field].annotation)):
        return f"{quote(name)}: `{field}` has no keys.", f"use `{field}`"
    return None


def is_mapping(annotation: Any) -> bool:
    """Whether a field of this type takes a mapping."""
    return "Mapping" in str(annotation)
