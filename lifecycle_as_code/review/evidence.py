"""Compare what MLflow knows about two versions of a model; whether a change is good isn't decided here.
Pure."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from ..model.evidence import Better, Comparison, Direction, Evidence, MetricChange, MetricKey
from ..model.spec import Address
from .signature.comparison import compare_signatures


def compare(
    address: Address,
    model: str,
    before: Evidence | None,
    after: Evidence | None,
    directions: tuple[Direction, ...] = (),
    entity: str = "",
) -> Comparison:
    """The two sides of a change, compared."""
    return Comparison(
        address,
        model,
        before,
        after,
        tuple(_metrics(model, before, after, directions)),
        compare_signatures(
            before.signature if before else None,
            after.signature if after else None,
            was_there=before is not None,
            will_be_there=after is not None,
        ),
        entity,
    )


def _metrics(
    model: str, before: Evidence | None, after: Evidence | None, directions: tuple[Direction, ...]
) -> Iterator[MetricChange]:
    was, will_be = _values(before), _values(after)
    for key in sorted({*was, *will_be}):
        name, dataset, digest = key
        old, new = was.get(key), will_be.get(key)
        yield MetricChange(
            name, dataset, digest, old, new, _is_improvement(model, name, old, new, directions)
        )


def _values(side: Evidence | None) -> dict[MetricKey, float | None]:
    return {metric.key: metric.value for metric in side.metrics} if side else {}


def _is_improvement(
    model: str, name: str, before: float | None, after: float | None, directions: tuple[Direction, ...]
) -> bool | None:
    if before is None or after is None or before == after:
        return None
    # the last one that fits counts, as in .gitignore
    for said in reversed(directions):
        if fnmatchcase(name, said.name) and fnmatchcase(model, said.model):
            return (after > before) is (said.better is Better.HIGHER)
    return None
