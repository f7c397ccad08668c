"""Desired specs in planned form: aliases pinned to versions, so that the cluster never asks the registry for
them, and sources as the store keeps them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ..model.diagnostics import Diagnostic, refuse
from ..model.snapshot import Desired, Live, Observed
from ..model.spec import Address, Spec

Pin = Callable[
    [Mapping[Address, Spec], Mapping[Address, Observed]], Iterable[tuple[Address, Spec | Diagnostic]]
]
"""A kind's own resolution: from its desired specs and the objects after the apply to resolved specs."""


def resolve(desired: Desired, live: Live, pins: Mapping[str, Pin]) -> Desired:
    """`desired` in planned form. LacError with everything that can't be resolved, at its place."""
    objects = {**desired.objects, **live.settled}
    problems: list[Diagnostic] = [*live.diagnostics]
    for kind, pin in pins.items():
        mine = {address: spec for address, spec in objects.items() if address.kind == kind}
        if not mine:
            continue
        for address, resolution in pin(mine, _list_objects_after(objects, live, kind)):
            if isinstance(resolution, Diagnostic):
                problems.append(replace(resolution, at=desired.places.get(address)))
            else:
                objects[address] = resolution
    refuse(problems)
    return replace(desired, objects=objects)


def _list_objects_after(objects: Mapping[Address, Spec], live: Live, kind: str) -> dict[Address, Observed]:
    present = {address: observed for address, observed in live.objects.items() if not observed.tombstone}
    return present | {
        address: Observed(spec, present[address].facts if address in present else {})
        for address, spec in objects.items()
        if address.kind != kind
    }
