"""Two versions side by side, as rows of words, for every view that shows evidence. Pure. Nothing is escaped
in here: that is each view's own matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, NamedTuple

from ..model.evidence import Comparison, Dataset, Evidence, MetricChange, Run, no_numbers
from ..model.spec import Address
from .terminal.history import moment

Tone = Literal["bad", "warn", "good", "plain"]
"""How something is meant. It is always said in words, too."""

_COMMIT = 12
_NAN = "NaN"
"""How a metric is shown that was measured and is no number."""
SHORT_ID = 8
"""Of an id or a digest, for people."""
_TONES: Mapping[bool | None, Tone] = {True: "good", False: "bad", None: "plain"}
_TRENDS: Mapping[bool | None, str] = {True: "▲ better", False: "▼ worse", None: ""}


class Row(NamedTuple):
    """A fact about two versions; a side that doesn't say is empty."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric on one data set. `data`: the set and its digest, or empty. `trend`: whether
    that is better, in words and not by colour alone."""

    name: str
    data: str
    before: str
    after: str
    delta: str
    trend: str
    measured: MetricChange

    @property
    def moved(self) -> bool:
        """Whether there is anything to look at."""
        # what is no number is there or isn't; NaN is unequal to itself, and reads the same
        return self.before != self.after

    @property
    def tone(self) -> Tone:
        """How it is meant."""
        return _TONES[self.measured.better]


def told_first(comparisons: Iterable[Comparison]) -> dict[tuple[Address, str], Address]:
    """For the comparisons, by change and entity, that say what an earlier one said: that one's change. An
    endpoint that follows an alias serves the very versions that the alias goes from and to."""
    first: dict[tuple[str, int, int], Comparison] = {}
    repeated: dict[tuple[Address, str], Address] = {}
    for comparison in comparisons:
        before, after = comparison.before, comparison.after
        key = (comparison.model, before.version if before else -1, after.version if after else -1)
        told = first.setdefault(key, comparison)
        if told is not comparison and told == replace(comparison, address=told.address, entity=told.entity):
            repeated[comparison.address, comparison.entity] = told.address
    return repeated


def title(shown: Comparison) -> str:
    """`fraud: version 3 → 4, served as champion`."""
    what = versions(shown) or "no version"
    return f"{shown.model}: {what}" + (f", served as {shown.entity}" if shown.entity else "")


def versions(found: Comparison) -> str:
    """`version 3 → 4`, `version 4` at a creation, `version 3 →` at a deletion."""
    match found.before, found.after:
        case None, after if after is not None:
            return _version(after)
        case before, None if before is not None:
            return f"{_version(before)} → nothing"
        case before, after if before is not None and after is not None:
            same = before.version == after.version and before.model == after.model
            return _version(after) if same else f"{_version(before)} → {_version(after, bare=True)}"
    return ""


def _version(side: Evidence, *, bare: bool = False) -> str:
    number = str(side.version) if side.version else "(no number yet)"
    return number if bare else f"version {number}"


def metric_rows(shown: Comparison) -> list[MetricRow]:
    """The metrics: worse ones first, then better ones, then others that moved, then the rest."""
    was, will_be = no_numbers(shown.before), no_numbers(shown.after)
    both = shown.before is not None and shown.after is not None
    rows = [_metric(m, m.key in was, m.key in will_be, both=both) for m in shown.metrics]
    return sorted(rows, key=lambda r: (not r.moved, r.measured.better is None, bool(r.measured.better)))


def _metric(measured: MetricChange, was_nan: bool, is_nan: bool, *, both: bool) -> MetricRow:
    before, after = numbers(measured.before, measured.after)
    before, after = _NAN if was_nan else before, _NAN if is_nan else after
    delta = measured.delta
    came = "" if not both else "gone" if not after else "first measured" if not before else ""
    return MetricRow(
        measured.name,
        data(measured),
        before,
        after,
        "" if delta is None or not isfinite(delta) else "0" if delta == 0 else _number(delta, 3, "+"),
        _TRENDS[measured.better] or came,
        measured,
    )


def data(metric: MetricChange) -> str:
    """A data set's name and the beginning of its digest."""
    digest = f" ({metric.digest[:SHORT_ID]})" if metric.digest else ""
    return f"{metric.dataset}{digest}"


def numbers(before: float | None, after: float | None) -> tuple[str, str]:
    """Both with as many digits after the point, as short as tells them apart; empty for none."""
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
    # 1.2e+06 isn't how people write a count of rows
    return f"{number:{sign},.0f}" if "e" in text and 1 <= abs(number) < 1e15 else text


def facts(shown: Comparison) -> list[Row]:
    """What else is known: all of the run and the data, and of the environment what differs."""
    was, will_be = (_made_from(side) if side else {} for side in (shown.before, shown.after))
    rows = [Row(name, was.get(name, ""), will_be.get(name, "")) for name in {**was, **will_be}]
    return [row for row in [*rows, *_environment(shown.before, shown.after)] if row.before or row.after]


def _made_from(side: Evidence) -> dict[str, str]:
    run = side.run or Run("")
    return {
        "source": side.source,
        "run": f"{run.name} ({run.run_id})" if run.name else run.run_id,
        "run status": ", ".join(filter(None, (run.status, "in the trash" if run.deleted else ""))),
        "run by": run.user,
        "run experiment": run.experiment,
        "git commit": run.commit[:_COMMIT],
        "page in MLflow": run.link,
        "data sets": ", ".join(map(_dataset, side.datasets)),
        "size": "" if side.size is None else size(side.size),
        "aliases before the plan": ", ".join(side.aliases),
    }


def _dataset(shown: Dataset) -> str:
    more = ", ".join(filter(None, (shown.digest, shown.context)))
    return f"{shown.name} ({more})" if more else shown.name


def _environment(before: Evidence | None, after: Evidence | None) -> Iterator[Row]:
    was, will_be = _built_with(before), _built_with(after)
    for name in [*was, *(name for name in will_be if name not in was)]:
        row = Row(name, was.get(name, ""), will_be.get(name, ""))
        # a side that is missing differs from nothing
        if row.before != row.after or not (before and after):
            yield row


def _built_with(side: Evidence | None) -> dict[str, str]:
    if side is None:
        return {}
    # a flavor without a version of its library is still one that a caller may load it by
    flavors = {f"flavor {name}": version or "yes" for name, version in side.flavors.items()}
    since = {f"{alias} since": moment(at) for alias, at in side.since_ms.items()}
    tags = {f"tag {name}": value for name, value in side.tags.items()}
    return {"Python": side.python, "MLflow": side.mlflow, **flavors, **tags, **since}


def absent(shown: Comparison) -> list[str]:
    """What is missing, by side."""
    return [
        f"version {side.version}: {what}" if side.version else what
        for side in (shown.before, shown.after)
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
