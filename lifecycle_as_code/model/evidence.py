"""What MLflow knows about a model version, and how two versions compare. Pure data; `stores` read it.

Nothing in here decides: a reviewer does, or a policy.
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
"""A number, of the type that it came in: JSON tells 90 from 90.0."""

MetricKey = tuple[str, str, str]
"""A metric's name, its data set and that one's digest: on other data it is another metric."""


class Better(StrEnum):
    """Which direction of a metric is an improvement."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Direction:
    """What a manifest says of a metric: `name` and `model` are exact names or patterns with `*` and `?`."""

    name: str
    better: Better
    model: str = "*"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's last value, as MLflow's UI shows it. `value` None: not a number.

    `dataset` and `digest` name the data that it was measured on, where MLflow has a link (metrics of a
    LoggedModel); otherwise they are empty.
    """

    name: str
    value: Number | None
    dataset: str = ""
    digest: str = ""

    @property
    def key(self) -> MetricKey:
        """What it is known by."""
        return self.name, self.dataset, self.digest


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set that the run or the model used. `context`: MLflow's `mlflow.data.context`, such as
    `training`."""

    name: str
    digest: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """The run that made a version. `status` is MLflow's word (`FINISHED`); times in ms since 1970.

    `deleted`: MLflow has it in its trash. `commit`: the tag `mlflow.source.git.commit`. `link`: its page in
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
    """What is known about one version. What isn't there is None, empty, or named in `missing`.

    `version` is 0 where it has none. `tags`: as they are, and on the side after as the plan leaves them.
    `aliases`: those that point at it now, before the plan. `flavors`: each flavor and its library's version,
    where MLmodel says it. `size`: of the artifacts, in bytes. `missing`: what should be there and isn't, or
    could not be read, as sentences for people ("the artifact: no MLmodel at …"). `artifact`: whether its
    MLmodel was read; None where that can't be told (a store that can't be reached from here, or not in
    time). `since_ms`: since when it has held an alias without a break, by our own history, in ms since 1970.
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
    """One metric on one data set, before and after. None: not measured, or not a number.

    `better`: whether it improved, where the manifest says which direction is better and it moved; None
    otherwise.
    """

    name: str
    dataset: str
    digest: str
    before: Number | None
    after: Number | None
    better: bool | None = None

    @property
    def key(self) -> MetricKey:
        """What it is known by."""
        return self.name, self.dataset, self.digest

    @property
    def delta(self) -> float | None:
        """After minus before; None where one of them is missing."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    """One version in the place of another, because of one change.

    `address`: the change. `entity`: the served entity, where the change is an endpoint's; otherwise empty.
    `before` None: nothing was there (a creation); `after` None: nothing will be.
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
        """Parameters that differ: name, before, after; None where one side hasn't it. None at a creation."""
        if self.before is None or self.after is None:
            return
        for name in sorted({*self.before.params, *self.after.params}):
            before, after = self.before.params.get(name), self.after.params.get(name)
            if before != after:
                yield name, before, after


def no_numbers(side: Evidence | None) -> set[MetricKey]:
    """The metrics that were measured and came out as no number."""
    return {metric.key for metric in side.metrics if metric.value is None} if side else set()
