"""What a reviewer judges a plan by, for people on a terminal. Pure: lines out, nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..evidence import Comparison, Evidence, MetricChange, Run
from ..review import Access, Capacity, Choice, Impact, Outcome, Review, Traffic, Verdict
from ..signature import SignatureChange, SignatureClass
from ..spec import Address
from .text import PLAIN, Paint, Style, counted, listed, safe, shortened

if TYPE_CHECKING:
    from rich.table import Table

_INDENT = 6
_LEAST_WIDTH = 40
_MOST_PARAMS = 12
_MOST_ACCESS = 12
_MOST_LOSERS = 5
_SHORT_ID = 8

OUTCOMES: dict[Outcome, tuple[str, Style]] = {
    Outcome.DENIED: ("✗", "red"),
    Outcome.WARNED: ("!", "yellow"),
    Outcome.WAIVED: ("~", "yellow"),
    Outcome.PASSED: ("✓", "green"),
}
"""Each outcome's sign and colour, the gravest first."""

CLASSES: dict[SignatureClass, Style] = {
    SignatureClass.SAME: "green",
    SignatureClass.COMPATIBLE: "green",
    SignatureClass.BREAKING: "red",
    SignatureClass.UNKNOWN: "yellow",
    SignatureClass.NONE: "faint",
}


def beneath(
    part: Review | None,
    paint: Paint = PLAIN,
    *,
    width: int = 100,
    told: Mapping[tuple[Address, str], Address] = MappingProxyType({}),
) -> list[str]:
    """What belongs below one change: how its versions were chosen, evidence, blast radius. `told`: where
    evidence stands already, by change and entity; it isn't repeated."""
    if part is None:
        return []
    return [
        *(line for choice in part.choices for line in _chosen(choice, paint)),
        *(
            line
            for found in part.evidence
            for line in _compared(found, paint, width, told.get((found.address, found.entity)))
        ),
        *(line for impact in part.impacts for line in _reached(impact, paint)),
    ]


def verdicts(review: Review, paint: Paint = PLAIN) -> Iterator[str]:
    """The policies' verdicts, the gravest first; those that passed on one line."""
    if not review.verdicts:
        return
    lines = [paint("Policies", "strong")]
    for outcome in OUTCOMES:
        found = [v for v in review.verdicts if v.outcome is outcome]
        if outcome is not Outcome.PASSED:
            for verdict in found:
                lines += _judged(verdict, paint)
        elif found:
            sign, colour = OUTCOMES[outcome]
            names = [*dict.fromkeys(safe(v.policy) for v in found)]
            lines.append(
                f"  {paint(sign, colour)} {counted(len(found), 'verdict')} passed: {listed(names, 6)}"
            )
    yield "\n".join(lines)


def _judged(verdict: Verdict, paint: Paint) -> Iterator[str]:
    sign, colour = OUTCOMES[verdict.outcome]
    place = f"  {paint(safe(verdict.at), 'faint')}" if verdict.at else ""
    name = paint(safe(verdict.policy), "strong")
    yield f"  {paint(sign, colour)} {name}  {paint(verdict.outcome, colour)}  {safe(verdict.address)}{place}"
    if verdict.message:
        yield f"      {safe(verdict.message)}"
    yield from (f"      {paint('not met:', 'faint')} {safe(failed)}" for failed in verdict.failed)
    if verdict.waiver:
        waiver = verdict.waiver
        where = f"  {paint(safe(waiver.at), 'faint')}" if waiver.at else ""
        yield f"      waived until {safe(waiver.expires)}: {safe(waiver.reason)}{where}"


def _chosen(choice: Choice, paint: Paint) -> Iterator[str]:
    indent = " " * _INDENT
    yield (
        f"{indent}{paint('selected', 'faint')}  {safe(choice.field)} {safe(choice.selector)}"
        f" is version {choice.version}"
    )
    for version, why in choice.losers[:_MOST_LOSERS]:
        yield f"{indent}  {paint(f'not {version}: {safe(why)}', 'faint')}"
    if len(choice.losers) > _MOST_LOSERS:
        yield f"{indent}  {paint(f'and {len(choice.losers) - _MOST_LOSERS} more', 'faint')}"


def _compared(found: Comparison, paint: Paint, width: int, told_at: Address | None) -> Iterator[str]:
    indent = " " * _INDENT
    head = f"{indent}{paint('evidence', 'strong')}"
    if told_at is not None:
        yield f"{head}  {paint(f'as for {safe(told_at)}', 'faint')}"
        return
    entity = f" for served entity {safe(found.entity)}" if found.entity else ""
    missing = found.after.missing if found.after else ()
    told = [
        *(f"{indent}  {line}" for line in _metrics(found.metrics, paint, width - _INDENT - 2)),
        *(f"{indent}  {paint(label, 'faint')}  {text}" for label, text in _facts(found)),
    ]
    if not told and found.signature.verdict in (SignatureClass.NONE, SignatureClass.UNKNOWN):
        if not missing:
            return
        # each begins with what it is about; the documents have the sentences
        what = listed([safe(text.partition(":")[0]) for text in missing], 4)
        yield f"{head}  {paint(f'{safe(found.model)} {versions(found)}{entity}: missing {what}', 'faint')}"
        return
    yield f"{head}  {safe(found.model)} {versions(found)}{entity}"
    yield from told
    yield from (f"{indent}  {line}" for line in _signature(found.signature, paint))
    yield from (f"{indent}  {paint('missing ', 'yellow')}  {safe(text)}" for text in missing)


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


def _metrics(found: Sequence[MetricChange], paint: Paint, width: int) -> list[str]:
    if not found:
        return []
    with_data = any(metric.dataset for metric in found)
    table = _table("metric", *(["data set"] if with_data else []), ">before", ">after", ">change", "")
    for metric in found:
        sign, style = improvement(metric)
        cells = [
            _text(metric.name),
            *([_text(data(metric))] if with_data else []),
            number(metric.before),
            number(metric.after),
            "" if metric.delta is None else f"{metric.delta:+.4g}",
            _styled(sign, style, paint),
        ]
        table.add_row(*cells)
    return _drawn(table, paint, width)


def improvement(metric: MetricChange) -> tuple[str, str]:
    """Whether it is better, as a word with a sign, and a colour for it; nothing where nobody said."""
    match metric.better:
        case True:
            return "▲ better", "green"
        case False:
            return "▼ worse", "red"
    return "", ""


def number(value: float | None) -> str:
    """A metric's value, four significant digits after what both sides have in common at most."""
    return "–" if value is None else f"{value:.6g}"


def data(metric: MetricChange) -> str:
    """A data set's name and the beginning of its digest."""
    digest = f" ({metric.digest[:_SHORT_ID]})" if metric.digest else ""
    return f"{metric.dataset}{digest}"


def _facts(found: Comparison) -> Iterator[tuple[str, str]]:
    before, after = found.before, found.after
    params = [f"{safe(name)}: {_either(was)} → {_either(will_be)}" for name, was, will_be in found.params]
    if params:
        yield "params  ", listed(params, _MOST_PARAMS)
    if after is None:
        return
    if datasets := [
        f"{safe(d.name)} ({safe(d.digest[:_SHORT_ID])}{', ' + safe(d.context) if d.context else ''})"
        for d in after.datasets
    ]:
        yield "data    ", listed(datasets, 6)
    if after.run is not None:
        yield "run     ", run(after.run)
    libraries = list(_libraries(before, after))
    if libraries:
        yield "made by ", ", ".join(libraries)
    if after.size is not None:
        was = before.size if before else None
        yield "size    ", _pair(None if was is None else size(was), size(after.size))


def run(found: Run) -> str:
    """A run on one line: id, status, who, when, from which commit."""
    parts = [safe(found.run_id[:_SHORT_ID])]
    if found.deleted:
        parts.append("deleted")
    if found.status:
        parts.append(safe(found.status))
    if found.user:
        parts.append(f"by {safe(found.user)}")
    if found.ended_ms is not None:
        parts.append(day(found.ended_ms))
    if found.commit:
        parts.append(f"commit {safe(found.commit[:12])}")
    return ", ".join(parts)


def day(at_ms: int) -> str:
    """`2026-11-24`, in UTC; a time that is none says so."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "no time"


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _libraries(before: Evidence | None, after: Evidence) -> Iterator[str]:
    """Flavors, Python and MLflow: what differs as a pair, what doesn't once."""
    was = {**before.flavors, "python": before.python, "mlflow": before.mlflow} if before else {}
    will_be = {**after.flavors, "python": after.python, "mlflow": after.mlflow}
    for name, version in will_be.items():
        if version or was.get(name):
            yield f"{safe(name)} {_pair(safe(was[name]) if was.get(name) else None, safe(version) or '–')}"
    yield from (f"{safe(name)} {safe(version)} → –" for name, version in was.items() if name not in will_be)


def _pair(before: str | None, after: str) -> str:
    return after if before in (None, after) else f"{before} → {after}"


def _either(value: str | None) -> str:
    return "–" if value is None else shortened(safe(value), 40)


def _signature(found: SignatureChange, paint: Paint) -> Iterator[str]:
    if found.verdict is SignatureClass.NONE:
        return
    word = paint(str(found.verdict), CLASSES[found.verdict], "strong")
    findings = found.findings or found.breaking
    yield f"{paint('signature', 'faint')} {word}{': ' + safe(findings[0]) if findings else ''}"
    yield from (f"          {safe(text)}" for text in findings[1:_MOST_PARAMS])
    if len(findings) > _MOST_PARAMS:
        yield f"          and {len(findings) - _MOST_PARAMS} more"


def _reached(impact: Impact, paint: Paint) -> Iterator[str]:
    indent = " " * _INDENT
    if impact.traffic or impact.capacity or impact.access:
        yield f"{indent}{paint('reaches', 'strong')}"
    yield from (f"{indent}  {line}" for line in map(traffic, impact.traffic))
    yield from (f"{indent}  {line}" for line in map(capacity, impact.capacity))
    for row in impact.access[:_MOST_ACCESS]:
        yield f"{indent}  {paint('+' if row.gains else '-', 'green' if row.gains else 'red')} {access(row)}"
    if len(impact.access) > _MOST_ACCESS:
        yield f"{indent}  and {len(impact.access) - _MOST_ACCESS} more"


def traffic(row: Traffic) -> str:
    """`serving_endpoint.fraud: champion, 90 % of its traffic, follows @champion: version 3 → 4`."""
    parts = [safe(row.entity)]
    if row.share is not None:
        parts.append(f"{row.share:g} % of its traffic")
    if row.follows:
        parts.append(f"follows {safe(row.follows)}")
    owner = f" of stack {safe(row.stack)}" if row.stack else ""
    match row.moves, row.version_before, row.version_after:
        case True, before, after if before != after:
            end = f": version {'–' if before is None else before} → {'–' if after is None else after}"
        case False, before, _ if before is not None:
            stays = "; stays until that stack is applied" if row.stack else ""
            end = f": version {before}{stays}"
        case _:
            end = ""
    return f"{safe(row.endpoint)}{owner}: {', '.join(parts)}{end}"


def capacity(row: Capacity) -> str:
    """Replicas, CPUs and GPUs before → after, the peak, and whether the cluster has it."""
    parts = [f"replicas {_moved(row.replicas_before, row.replicas_after)}"]
    parts.append(f"CPUs {_moved(row.cpus_before, row.cpus_after)}")
    if row.gpus_before or row.gpus_after:
        parts.append(f"GPUs {_moved(row.gpus_before, row.gpus_after)}")
    peak = f"+{row.peak_cpus:g} CPUs" + (f" and +{row.peak_gpus:g} GPUs" if row.peak_gpus else "")
    free = "" if row.free_cpus is None else f", {row.free_cpus:g} free"
    if row.free_gpus is not None and row.peak_gpus:
        free += f" and {row.free_gpus:g} GPUs free"
    fits = {True: ": fits", False: ": does not fit", None: ""}[row.fits]
    if row.peak_cpus or row.peak_gpus:
        parts.append(f"while both versions are up {peak}{free}{fits}")
    return f"{safe(row.endpoint)}: {', '.join(parts)}"


def _moved(before: float, after: float) -> str:
    return f"{after:g}" if before == after else f"{before:g} → {after:g}"


def access(row: Access) -> str:
    """`alice: READ → EDIT on registered_model.fraud (role analysts: EDIT)`."""
    why = f" ({safe(row.why)})" if row.why else ""
    return f"{safe(row.user)}: {safe(row.before)} → {safe(row.after)} on {safe(row.resource)}{why}"


def summary(review: Review) -> Iterator[str]:
    """What of it belongs beside the tally: `1 denied`, `signature breaking`."""
    for outcome in (Outcome.DENIED, Outcome.WARNED, Outcome.WAIVED):
        if count := sum(v.outcome is outcome for v in review.verdicts):
            yield f"{count} {outcome}"
    if any(c.signature.verdict is SignatureClass.BREAKING for c in review.evidence):
        yield "signature breaking"


# --- tables


def _table(*columns: str) -> Table:
    """Columns by their heads; `>` in front of one: to the right."""
    # imported here: a plan without metrics is spared a tenth of a second
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for head in columns:
        right = head.startswith(">")
        table.add_column(
            head.removeprefix(">"), justify="right" if right else "left", no_wrap=True, overflow="ellipsis"
        )
    return table


def _text(text: str) -> str:
    # rich's own markup is no business of a metric's name
    return safe(text).replace("[", "\\[")


def _styled(text: str, style: str, paint: Paint) -> str:
    return f"[{style}]{text}[/{style}]" if style and paint.colour else text


def _drawn(table: Table, paint: Paint, width: int) -> list[str]:
    from rich.console import Console

    out = StringIO()
    console = Console(
        file=out,
        width=max(width, _LEAST_WIDTH),
        force_terminal=paint.colour,
        color_system="standard" if paint.colour else None,
        no_color=not paint.colour,
        highlight=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]
