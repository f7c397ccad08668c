"""What a change affects, in words: traffic, capacity, access. Pure; each format escapes."""

from __future__ import annotations

from ..model.plan import Plan
from ..model.review import Access, Capacity, Traffic
from ..model.spec import Address


def traffic(plan: Plan) -> dict[Traffic, list[Address]]:
    """Each affected served entity, with the changes that affect it."""
    causes: dict[Traffic, list[Address]] = {}
    for impact in plan.review.impacts:
        for row in impact.traffic:
            causes.setdefault(row, []).append(impact.address)
    return causes


def capacity(plan: Plan) -> list[Capacity]:
    """Each endpoint whose use of the cluster changes, once."""
    return [*dict.fromkeys(row for impact in plan.review.impacts for row in impact.capacity)]


def access(plan: Plan) -> list[Access]:
    """Each user whose level changes, once for a resource; those who lose access first."""
    rows = dict.fromkeys(row for impact in plan.review.impacts for row in impact.access)
    return sorted(rows, key=lambda row: row.gains)


def version(row: Traffic) -> str:
    """`3 → 4`, `3`, or nothing where the version isn't known."""
    before, after = row.version_before, row.version_after
    if before == after or None in (before, after):
        only = after if before is None else before
        side = "" if before == after else " (new)" if before is None else " (removed)"
        return "" if only is None else f"{only}{side}"
    return f"{before} → {after}"


def timing(row: Traffic) -> str:
    """Which apply changes the entity."""
    if row.moves:
        return "changes with this plan"
    return f"changes when stack {row.stack} is applied" if row.stack else "unchanged"


def share(row: Traffic) -> str:
    """`90 %`."""
    return "" if row.share is None else f"{row.share:g} %"


def fit(row: Capacity) -> str:
    """`fits: needs 2 CPUs more while both versions run, 4 CPUs free`."""
    verdict = {True: "fits", False: "does not fit", None: "capacity unknown"}[row.fits]
    both = (("CPU", row.peak_cpus, row.free_cpus), ("GPU", row.peak_gpus, row.free_gpus))
    units = [unit for unit in both if unit[1]]
    peak = " and ".join(_amount(need, unit) for unit, need, _ in units)
    free = " and ".join(_amount(rest, unit) for unit, _, rest in units if rest is not None)
    # a new endpoint has no other version beside it
    when = "while both versions run" if row.replicas_before else "when it starts"
    needs = f": needs {peak} more {when}" if peak else ""
    return f"{verdict}{needs}" + (f", {free} free" if free else "")


def _amount(number: float, unit: str) -> str:
    return f"{number:g} {unit}" if number == 1 else f"{number:g} {unit}s"


def pair(before: float, after: float) -> str:
    """`1 → 2`, or `1` where nothing changes."""
    return f"{before:g}" if before == after else f"{before:g} → {after:g}"


def direction(row: Access) -> str:
    """Whether the user gains or loses access."""
    return "gains" if row.gains else "loses"
