"""What MLflow knows about a model version, and the differences between two versions. Pure data."""

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
    """The last value of a metric, as MLflow's UI shows it; None if it isn't a number. `dataset` and `digest`:
    the data that it was measured on, where MLflow links it (metrics of a LoggedModel)."""

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
    """A dataset of the run or the model. `context`: the tag `mlflow.data.context`, such as `training`."""

    name: str
    digest: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """The run that created a version. `status`: MLflow's (`FINISHED`); times in ms since 1970. `commit`: the
    tag `mlflow.source.git.commit`. `link`: its page below the server's address."""

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
    """What is known about one version. What is absent is None, empty, or named in `missing`, as a sentence
    for people ("the artifact: no MLmodel at …").

    `version`: 0 for a version without a number yet. `tags`: live ones on the side before, the plan's on the
    side after. `aliases`: those before the plan. `flavors`: each flavor with its library's version, from
    MLmodel. `size`: of the artifacts, in bytes. `artifact`: whether its MLmodel was read; None if its store
    can't be reached. `since_ms`: by alias, since when it has had it without a break, by lac's history, in ms
    since 1970.
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
    """One metric on one dataset, before and after. None: not measured, or not a number. `better`: whether it
    improved; None where no manifest says which direction is better, or it is unchanged."""

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
    """One version that replaces another, because of the change of `address`. `entity`: the served entity, if
    an endpoint changes. `before` None: a creation; `after` None: a deletion."""

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
