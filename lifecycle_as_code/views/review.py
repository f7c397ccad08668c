"""What a reviewer judges a plan by, for people on a terminal. Pure: lines out, nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ..review import Access, Capacity, Choice, Impact, Outcome, Review, Traffic, Verdict
from ..signature import SignatureClass
from ..spec import Address
from .evidence import compared
from .reach import pair
from .text import PLAIN, Paint, Style, counted, listed, safe

_INDENT = 6
_MOST_ACCESS = 12
_MOST_LOSERS = 5

OUTCOMES: dict[Outcome, tuple[str, Style]] = {
    Outcome.DENIED: ("✗", "red"),
    Outcome.WARNED: ("!", "yellow"),
    Outcome.WAIVED: ("~", "yellow"),
    Outcome.PASSED: ("✓", "green"),
}
"""Each outcome's sign and colour, the gravest first."""


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
            for line in compared(found, paint, width, told.get((found.address, found.entity)))
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
    parts = [f"replicas {pair(row.replicas_before, row.replicas_after)}"]
    parts.append(f"CPUs {pair(row.cpus_before, row.cpus_after)}")
    if row.gpus_before or row.gpus_after:
        parts.append(f"GPUs {pair(row.gpus_before, row.gpus_after)}")
    peak = f"+{row.peak_cpus:g} CPUs" + (f" and +{row.peak_gpus:g} GPUs" if row.peak_gpus else "")
    free = "" if row.free_cpus is None else f", {row.free_cpus:g} free"
    if row.free_gpus is not None and row.peak_gpus:
        free += f" and {row.free_gpus:g} GPUs free"
    fits = {True: ": fits", False: ": does not fit", None: ": not known to fit"}[row.fits]
    if row.peak_cpus or row.peak_gpus:
        parts.append(f"while both versions are up {peak}{free}{fits}")
    return f"{safe(row.endpoint)}: {', '.join(parts)}"


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
