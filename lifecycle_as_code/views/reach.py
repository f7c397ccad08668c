"""What a change reaches, in words: traffic, capacity, access. Pure. Nothing is escaped in here."""

from __future__ import annotations

from ..model.plan import Plan
from ..model.review import Access, Capacity, Traffic
from ..model.spec import Address


def traffic(shown: Plan) -> dict[Traffic, list[Address]]:
    """Each served entity that is reached, with the changes because of which it is."""
    found: dict[Traffic, list[Address]] = {}
    for impact in shown.review.impacts:
        for item in impact.traffic:
            found.setdefault(item, []).append(impact.address)
    return found


def capacity(shown: Plan) -> list[Capacity]:
    """Each endpoint that takes more or less, once."""
    return [*dict.fromkeys(item for impact in shown.review.impacts for item in impact.capacity)]


def access(shown: Plan) -> list[Access]:
    """Each user whose level changes, once for a resource; who loses first."""
    found = dict.fromkeys(item for impact in shown.review.impacts for item in impact.access)
    return sorted(found, key=lambda changed: changed.gains)


def version(reached: Traffic) -> str:
    """`3 → 4`, `3`, or nothing where that isn't known."""
    before, after = reached.version_before, reached.version_after
    if before == after or None in (before, after):
        only = after if before is None else before
        side = "" if before == after else " (comes)" if before is None else " (goes)"
        return "" if only is None else f"{only}{side}"
    return f"{before} → {after}"


def whose(reached: Traffic) -> str:
    """Whether it moves with this plan."""
    if reached.moves:
        return "moves with this plan"
    return f"stack {reached.stack}: moves when that is applied" if reached.stack else "stays"


def share(reached: Traffic) -> str:
    """`90 %`."""
    return "" if reached.share is None else f"{reached.share:g} %"


def room(taken: Capacity) -> str:
    """Whether the cluster has what the switch takes."""
    fits = {True: "fits", False: "does not fit", None: "not known"}[taken.fits]
    parts = [f"{taken.peak_cpus:g} CPUs" if taken.peak_cpus else ""]
    parts.append(f"{taken.peak_gpus:g} GPUs" if taken.peak_gpus else "")
    peak = " and ".join(filter(None, parts))
    free = [
        f"{number:g} {what}"
        for number, what, asked in (
            (taken.free_cpus, "CPUs", taken.peak_cpus),
            (taken.free_gpus, "GPUs", taken.peak_gpus),
        )
        if number is not None and asked
    ]
    needs = f": {peak} more {meanwhile(taken)}" if peak else ""
    return f"{fits}{needs}" + (f", {' and '.join(free)} free" if free else "")


def meanwhile(taken: Capacity) -> str:
    """When an endpoint takes the most: a new one has nothing beside it."""
    return "while both versions are up" if taken.replicas_before else "when it comes up"


def pair(before: float, after: float) -> str:
    """`1 → 2`, or `1` where nothing changes."""
    return f"{before:g}" if before == after else f"{before:g} → {after:g}"


def gain(changed: Access) -> str:
    """Which way it goes."""
    return "gains" if changed.gains else "loses"
