"""Compare two specs of one kind: the only differ. Pure: no clock, no database, no printing."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, NamedTuple

from .selector import pin_version, slots
from .spec import (
    ByKey,
    Computed,
    Derived,
    Health,
    Key,
    OwnedKeys,
    Part,
    Spec,
    Unordered,
    WriteOnly,
    construct,
    find_fields,
    find_markers,
    plain,
    shapes,
)

Path = tuple[str | int, ...]


class FieldChange(NamedTuple):
    """One leaf that differs. None means absent, as in a tag that will be added."""

    path: Path
    before: Any
    after: Any

    @property
    def name(self) -> str:
        """The path as people write it: `tags.team`, `served_entities.champion.entity_version`."""
        return ".".join(map(str, self.path))


def diff(before: Spec, after: Spec) -> tuple[FieldChange, ...]:
    """Every leaf that differs, in field order. Lists marked `ByKey` are compared as maps."""
    kind = type(after)
    skipped = find_fields(kind, Key) | find_fields(kind, WriteOnly)
    computed = find_fields(kind, Computed)
    changes: list[FieldChange] = []
    for field in kind.model_fields:
        old, new = getattr(before, field), getattr(after, field)
        # the store's choice is right, whether it has been read yet or not
        if field in skipped or old == new or (field in computed and None in (old, new)):
            continue
        if _is_leaf(old) and _is_leaf(new):
            changes.append(FieldChange((field,), old, new))
        elif field in find_fields(kind, Unordered):
            changes += [FieldChange((field,), item, None) for item in old if item not in new]
            changes += [FieldChange((field,), None, item) for item in new if item not in old]
        else:
            changes += _deep((field,), _read_field(kind, field, before), _read_field(kind, field, after))
    return tuple(changes)


def restrict_to_owned(live: Spec, *sides: Spec | None) -> Spec:
    """`live` with its `OwnedKeys` mappings reduced to the keys of `sides`: only those are compared."""
    update: dict[str, Any] = {}
    for field in find_fields(type(live), OwnedKeys):
        labels: Mapping[str, Any] = getattr(live, field)
        keys = {key for side in sides if side is not None for key in getattr(side, field)}
        if any(key not in keys for key in labels):
            update[field] = {key: value for key, value in labels.items() if key in keys}
    return live.model_copy(update=update) if update else live


def fill_computed(spec: Spec, live: Spec) -> Spec:
    """`spec` with the store's values for the `Computed` fields that it leaves out."""
    update = {
        name: getattr(live, name)
        for name in find_fields(type(spec), Computed)
        if getattr(spec, name) is None and getattr(live, name) is not None
    }
    return spec.model_copy(update=update) if update else spec


def carry_fields(after: Spec, before: Spec, fields: Collection[str]) -> Spec:
    """`after` with these fields, such as `description` or `tags.team`, as `before` has them."""
    if not fields:
        return after
    top = {name for name in fields if "." not in name}
    update: dict[str, Any] = {name: getattr(before, name) for name in top}
    for name in sorted({*fields} - top):
        field, _, key = name.partition(".")
        labels: Mapping[str, Any] = update.get(field, getattr(after, field))
        live_labels: Mapping[str, Any] = getattr(before, field)
        update[field] = {k: v for k, v in {**labels, key: live_labels.get(key)}.items() if v is not None}
    return after.model_copy(update=update)


def is_marked(kind: type[Part], path: Path, marker: Hashable) -> bool:
    """Whether that leaf, or a field that contains it, carries the marker."""
    name = str(path[0])
    if name in find_fields(kind, marker):
        return True
    inner, many = shapes(kind).get(name, (None, False))
    rest = path[2 if many else 1 :]
    return inner is not None and bool(rest) and is_marked(inner, rest, marker)


def without_health(spec: Spec) -> Spec:
    """The spec of the same object in good health."""
    return construct(type(spec), _well(type(spec), plain(spec)))


def _well(part: type[Part], data: Mapping[str, Any]) -> dict[str, Any]:
    well = {**data, **{n: part.model_fields[n].default for n in find_fields(part, Health) if n in data}}
    for name, (inner, many) in shapes(part).items():
        if inner is not None and well.get(name) is not None:
            value = well[name]
            well[name] = [_well(inner, item) for item in value] if many else _well(inner, value)
    return well


def list_leaves(spec: Spec) -> tuple[FieldChange, ...]:
    """Every field with a value of its own, as changes from nothing: what a creation shows."""
    for slot in slots(spec):
        # a selector is one value to a reader, not several fields
        spec = pin_version(spec, slot.loc, str(slot.selector))
    kind = type(spec)
    values = _as_maps(kind, spec.model_dump(warnings="none", exclude_defaults=True))
    hidden = find_fields(kind, Key) | find_fields(kind, Derived)
    return tuple(
        leaf
        for field in kind.model_fields
        if field in values and field not in hidden
        for leaf in _flat((field,), values[field])
    )


def _flat(path: Path, value: Any) -> list[FieldChange]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _flat((*path, key), item)]
    return [] if value is None else [FieldChange(path, None, value)]


def _is_leaf(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _read_field(spec: type[Part], field: str, value: Part) -> Any:
    """The field as plain data, with lists whose order means nothing turned into maps."""
    return _as_maps(spec, plain(value))[field]


def _as_maps(spec: type[Part], data: dict[str, Any]) -> dict[str, Any]:
    mapped = dict(data)
    for field, by in find_markers(spec, ByKey):
        inner, _ = shapes(spec)[field]
        if inner is not None and isinstance(items := data.get(field), list | tuple):
            mapped[field] = {by.name(item, inner): by.rest(item) for item in items}
    for field, (inner, many) in shapes(spec).items():
        if inner is not None and not many and isinstance(data.get(field), dict):
            mapped[field] = _as_maps(inner, data[field])
    return mapped


def _deep(path: Path, before: Any, after: Any) -> list[FieldChange]:
    if before == after:
        return []
    # imported here: the import costs more than a whole plan without differences
    from deepdiff import DeepDiff
    from deepdiff.helper import notpresent

    differences = DeepDiff(
        before,
        after,
        view="tree",
        ignore_type_in_groups=[(list, tuple)],
        verbose_level=2,
        # a tag's key may begin with `__`; maps with few common keys are still compared key by key
        ignore_private_variables=False,
        threshold_to_diff_deeper=0,
    )
    changes = [
        FieldChange(
            (*path, *item.path(output_format="list")),
            *(None if value is notpresent else value for value in (item.t1, item.t2)),
        )
        for group in differences.values()
        for item in group
    ]
    return sorted(changes, key=lambda change: [str(part) for part in change.path])
