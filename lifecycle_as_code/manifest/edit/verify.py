"""Whether edited manifests, read again, declare exactly the intended changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from ...model.diagnostics import LacError
from ...model.spec import Address, ByKey, Part, Spec, Unordered, find_fields, find_markers, shapes
from ..load import Manifest


def differ(one: Spec | None, other: Spec | None) -> bool:
    """Whether two specs differ in manifests; the order of some lists doesn't count."""
    if one is None or other is None or one == other:
        return one is not other and one != other
    return _sort(one.written(), type(one)) != _sort(other.written(), type(other))


def differences(
    manifest: Manifest, texts: Mapping[str, str], changes: Mapping[Address, Spec | None]
) -> Iterator[tuple[Address, str]]:
    """Objects whose declarations in these texts aren't the intended ones, each with the reason. Reads the
    whole stack again, as the next command does."""
    before = manifest.desired
    try:
        after = manifest.again({file: text.encode() for file, text in texts.items()}).desired
    except LacError as error:
        why = f"the edited text can't be read: {error.diagnostics[0].detail.rstrip('.')}"
        yield from ((address, why) for address in changes)
        return
    for address, spec in changes.items():
        if differ(after.objects.get(address), spec):
            yield address, "the edited text would not declare the change"
    for address in (before.objects.keys() | after.objects.keys()) - changes.keys():
        if differ(before.objects.get(address), after.objects.get(address)):
            yield address, "the edits of other objects would change it, too"
    for address in before.scopes.keys() | after.scopes.keys():
        claims = [desired.scopes.get(address) for desired in (before, after)]
        stays = changes.get(address, before.objects.get(address)) is not None
        if stays and len({None if claim is None else claim.exclusive for claim in claims}) > 1:
            yield address, "the claim of its list of permissions would change"


def _sort(data: Mapping[str, Any], part: type[Part]) -> dict[str, Any]:
    by_key: dict[str, ByKey] = dict(find_markers(part, ByKey))
    unordered = find_fields(part, Unordered)
    inside = shapes(part)
    result: dict[str, Any] = {}
    for name, value in data.items():
        inner, _ = inside.get(name, (None, False))
        if isinstance(value, list | tuple):
            items = [_sort(i, inner) if inner and isinstance(i, Mapping) else i for i in value]
            if inner is not None and (key := by_key.get(name)):
                items.sort(key=partial(key.name, part=inner))
            elif name in unordered:
                items.sort(key=str)
            result[name] = items
        elif inner and isinstance(value, Mapping):
            result[name] = _sort(value, inner)
        else:
            result[name] = value
    return result
