"""Two versions side by side, as rows of words, for every view of evidence. Pure; each format escapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, NamedTuple

from ..model.evidence import Comparison, Dataset, Evidence, MetricChange, Run, no_numbers
from ..model.spec import Address
from .text import format_time

Tone = Literal["bad", "warn", "good", "plain"]
"""How good or bad something is. The words always say it, too."""

_COMMIT = 12
_NAN = "NaN"
"""How a metric that isn't a number is printed."""
SHORT_ID = 8
"""Characters of an id or a digest that people see."""
_TONES: Mapping[bool | None, Tone] = {True: "good", False: "bad", None: "plain"}
_TRENDS: Mapping[bool | None, str] = {True: "▲ better", False: "▼ worse", None: ""}


class Row(NamedTuple):
    """A fact about two versions; an unknown side is empty."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric on one dataset. `data`: the dataset and its digest, or empty. `trend`: whether the metric is
    better or worse, in words."""

    name: str
    data: str
    before: str
    after: str
    delta: str
    trend: str
    change: MetricChange

    @property
    def differs(self) -> bool:
        """Whether the two sides read differently."""
        # compared as text: NaN is unequal to itself
        return self.before != self.after

    @property
    def tone(self) -> Tone:
        """Better, worse, or neither."""
        return _TONES[self.change.better]


def find_repeats(comparisons: Iterable[Comparison]) -> dict[tuple[Address, str], Address]:
    """The comparisons, by change and entity, that equal an earlier one, with that one's change. An endpoint
    that follows an alias serves the same versions that the alias moves between."""
    firsts: dict[tuple[str, int, int], Comparison] = {}
    repeats: dict[tuple[Address, str], Address] = {}
    for comparison in comparisons:
        before, after = comparison.before, comparison.after
        key = (comparison.model, before.version if before else -1, after.version if after else -1)
        first = firsts.setdefault(key, comparison)
        if first is not comparison and first == replace(
            comparison, address=first.address, entity=first.entity
        ):
            repeats[comparison.address, comparison.entity] = first.address
    return repeats


def title(comparison: Comparison) -> str:
    """`fraud: version 3 → 4, served as champion`."""
    what = versions(comparison) or "no version"
    return f"{comparison.model}: {what}" + (f", served as {comparison.entity}" if comparison.entity else "")


def versions(comparison: Comparison) -> str:
    """`version 3 → 4`, `version 4` at a creation, `version 3 → nothing` at a deletion."""
    before, after = comparison.before, comparison.after
    was, will_be = (
        f"version {side.version or '(not numbered yet)'}" if side else "" for side in (before, after)
    )
    if before is None or after is None:
        return will_be or (was and f"{was} → nothing")
    same = before.version == after.version and before.model == after.model
    return will_be if same else f"{was} → {will_be.removeprefix('version ')}"


def metric_rows(comparison: Comparison) -> list[MetricRow]:
    """The metrics: worse ones first, then better ones, then others that differ, then the rest."""
    was, will_be = no_numbers(comparison.before), no_numbers(comparison.after)
    both = comparison.before is not None and comparison.after is not None
    rows = [_metric(m, m.key in was, m.key in will_be, both=both) for m in comparison.metrics]
    return sorted(rows, key=lambda r: (not r.differs, r.change.better is None, bool(r.change.better)))


def _metric(change: MetricChange, was_nan: bool, is_nan: bool, *, both: bool) -> MetricRow:
    before, after = numbers(change.before, change.after)
    before, after = _NAN if was_nan else before, _NAN if is_nan else after
    delta = change.delta
    presence = "" if not both else "removed" if not after else "new" if not before else ""
    return MetricRow(
        change.name,
        data(change),
        before,
        after,
        "" if delta is None or not isfinite(delta) else "0" if delta == 0 else _number(delta, 3, "+"),
        _TRENDS[change.better] or presence,
        change,
    )


def data(metric: MetricChange) -> str:
    """A dataset's name and the beginning of its digest."""
    digest = f" ({metric.digest[:SHORT_ID]})" if metric.digest else ""
    return f"{metric.dataset}{digest}"


def numbers(before: float | None, after: float | None) -> tuple[str, str]:
    """Both with the same number of decimals, as few as tell them apart; empty for None."""
    pair = (before, after)
    for digits in (4, 6, 9, 17):
        texts = ["" if n is None else _number(n, digits) for n in pair]
        if before == after or texts[0] != texts[1]:
            break
    if any("e" in text or "n" in text for text in texts):
        return texts[0], texts[1]
    places = max(len(text.partition(".")[2]) for text in texts)
    left, right = ("" if n is None else f"{n:,.{places}f}" for n in pair)
    return left, right


def _number(number: float, digits: int, sign: str = "") -> str:
    text = f"{number:{sign}.{digits}g}"
    # people write a count of rows as 1,200,000, not as 1.2e+06
    return f"{number:{sign},.0f}" if "e" in text and 1 <= abs(number) < 1e15 else text


def facts(comparison: Comparison) -> list[Row]:
    """Everything about the run and the data, and what differs in the environment."""
    before, after = comparison.before, comparison.after
    rows = _rows(_provenance(before), _provenance(after))
    # without the other side there is nothing to differ from
    rows += [
        row
        for row in _rows(_environment(before), _environment(after))
        if row.before != row.after or not (before and after)
    ]
    return [row for row in rows if row.before or row.after]


def _rows(before: Mapping[str, str], after: Mapping[str, str]) -> list[Row]:
    return [Row(name, before.get(name, ""), after.get(name, "")) for name in {**before, **after}]


def _provenance(side: Evidence | None) -> dict[str, str]:
    if side is None:
        return {}
    run = side.run or Run("")
    return {
        "source": side.source,
        "run": f"{run.name} ({run.run_id})" if run.name else run.run_id,
        "run status": ", ".join(filter(None, (run.status, "deleted" if run.deleted else ""))),
        "run by": run.user,
        "run experiment": run.experiment,
        "git commit": run.commit[:_COMMIT],
        "MLflow page": run.link,
        "datasets": ", ".join(map(_dataset, side.datasets)),
        "size": "" if side.size is None else size(side.size),
        "aliases before the plan": ", ".join(side.aliases),
    }


def _dataset(dataset: Dataset) -> str:
    more = ", ".join(filter(None, (dataset.digest, dataset.context)))
    return f"{dataset.name} ({more})" if more else dataset.name


def _environment(side: Evidence | None) -> dict[str, str]:
    if side is None:
        return {}
    # a caller can load a flavor whose library has no version, too
    flavors = {f"flavor {name}": version or "yes" for name, version in side.flavors.items()}
    since = {f"{alias} since": format_time(at) for alias, at in side.since_ms.items()}
    tags = {f"tag {name}": value for name, value in side.tags.items()}
    return {"Python": side.python, "MLflow": side.mlflow, **flavors, **tags, **since}


def missing(comparison: Comparison) -> list[str]:
    """The missing evidence, by side."""
    return [
        f"version {side.version}: {what}" if side.version else what
        for side in (comparison.before, comparison.after)
        if side is not None
        for what in side.missing
    ]


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
