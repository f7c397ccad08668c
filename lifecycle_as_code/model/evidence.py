"""What MLflow knows about a model version, and the differences between two versions. Pure data: `stores` read
it, `review/evidence.py` compares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from .signature import Signature, SignatureChange
from .spec import Address

NOTHING: Mapping[str, str] = MappingProxyType({})

Number = int | float
"""A number of its original type: JSON distinguishes 90 and 90.0."""

MetricKey = tuple[str, str, str]
"""The name of a metric, its dataset and the dataset's digest: on other data it is another metric."""


class Better(StrEnum):
    """The direction in which a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Direction:
    """A metric's direction, from a manifest. `name`, `model`: exact names, or patterns with `*` and `?`."""

    name: str
    better: Better
    model: str = "*"


@dataclass(frozen=True, slots=True)
class Metric:
    """The last value of a metric, as MLflow's UI shows it. `value` None: not a number.

    `dataset` and `digest` identify the data that it was measured on, where MLflow links it (metrics of a
    LoggedModel); otherwise they are empty.
    """

    name: str
    value: Number | None
    dataset: str = ""
    digest: str = ""

    @property
    def key(self) -> MetricKey:
        """Its identity."""
        return self.name, self.dataset, self.digest


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that the run or the model used. `context`: the tag `mlflow.data.context`, such as
    `training`."""

    name: str
    digest: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """The run that created a version. `status`: in MLflow's words (`FINISHED`); times in ms since 1970.

    `deleted`: MLflow marks it as deleted. `commit`: the tag `mlflow.source.git.commit`. `link`: its page in
    MLflow's UI, a path below the server's address (`#/experiments/<id>/runs/<id>`).
    """

    run_id: str
    name: str = ""
    experiment: str = ""
    status: str = ""
    user: str = ""
    commit: str = ""
    source: str = ""
    started_ms: int | None = None
    ended_ms: int | None = None
    deleted: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about one version. What is absent is None, empty, or named in `missing`.

    `version`: 0 for a version without a number yet. `tags`: live ones on the side before, those that the plan
    leaves on the side after. `aliases`: the aliases that point at it before the plan. `flavors`: each flavor
    with the version of its library, from MLmodel. `size`: of the artifacts, in bytes. `missing`: what should
    exist and doesn't, or could not be read, as sentences for people ("the artifact: no MLmodel at …").
    `artifact`: whether its MLmodel was read; None if unknown (the store can't be reached from here, or didn't
    answer in time). `since_ms`: by alias, since when it has had the alias without a break, from lac's
    history, in ms since 1970.
    """

    model: str
    version: int = 0
    source: str = ""
    run: Run | None = None
    metrics: tuple[Metric, ...] = ()
    params: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    datasets: tuple[Dataset, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    aliases: tuple[str, ...] = ()
    flavors: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    python: str = ""
    mlflow: str = ""
    size: int | None = None
    signature: Signature | None = None
    artifact: bool | None = None
    missing: tuple[str, ...] = ()
    since_ms: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric on one dataset, before and after. None: not measured, or not a number.

    `better`: whether it improved; None where no manifest says which direction is better, or it is unchanged.
    """

    name: str
    dataset: str
    digest: str
    before: Number | None
    after: Number | None
    better: bool | None = None

    @property
    def key(self) -> MetricKey:
        """Its identity."""
        return self.name, self.dataset, self.digest

    @property
    def delta(self) -> float | None:
        """After minus before; None if either is missing."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    """One version that replaces another, because of one change.

    `address`: the change. `entity`: the served entity, for a change of an endpoint; otherwise empty.
    `before` None: a creation; `after` None: a deletion.
    """

    address: Address
    model: str
    before: Evidence | None
    after: Evidence | None
    metrics: tuple[MetricChange, ...] = ()
    signature: SignatureChange = SignatureChange()
    entity: str = ""

    @property
    def params(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Parameters that differ: name, before, after (None if absent). None for a creation or deletion."""
        if self.before is None or self.after is None:
            return
        for name in sorted({*self.before.params, *self.after.params}):
            before, after = self.before.params.get(name), self.after.params.get(name)
            if before != after:
                yield name, before, after


def no_numbers(side: Evidence | None) -> set[MetricKey]:
    """The metrics whose value is not a number."""
    return {metric.key for metric in side.metrics if metric.value is None} if side else set()
