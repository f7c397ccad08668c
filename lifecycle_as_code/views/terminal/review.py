"""What a reviewer judges a plan by, for people on a terminal. Pure: lines out, nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from ...model.review import Access, Capacity, Choice, Impact, Outcome, Review, Traffic, Verdict
from ...model.signature import SignatureClass
from ...model.spec import Address
from ...model.text import join_first, take_first
from ..reach import meanwhile, pair
from ..text import PLAIN, Paint, Style, counted, safe
from .evidence import compared

_INDENT = 6
_MOST_ACCESS = 12
_MOST_LOSERS = 5
_MOST_NAMES = 6

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
    """What belongs below one change: how its versions were chosen, evidence, blast radius, and which policies
    have something to say. `told`: where evidence stands already, by change and entity; it isn't repeated."""
    if part is None:
        return []
    return [
        *(line for choice in part.choices for line in chosen(choice, paint, _INDENT)),
        *(
            line
            for found in part.evidence
            for line in compared(found, paint, width, told.get((found.address, found.entity)))
        ),
        *(line for impact in part.impacts for line in _reached(impact, paint)),
        *_said_of_it(part, paint),
    ]


def _said_of_it(part: Review, paint: Paint) -> Iterator[str]:
    """That a policy has something to say; what it is stands with all verdicts."""
    for outcome, (sign, colour) in OUTCOMES.items():
        names = [safe(v.policy) for v in part.verdicts if v.outcome is outcome]
        if names and outcome is not Outcome.PASSED:
            yield f"{' ' * _INDENT}{paint(f'{sign} {outcome}', colour)} by {join_first(names, _MOST_NAMES)}"


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
                f"  {paint(sign, colour)} {counted(len(found), 'verdict')} passed:"
                f" {join_first(names, _MOST_NAMES)}"
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


def chosen(choice: Choice, paint: Paint, column: int) -> Iterator[str]:
    """What a selector means, and why the other versions lost."""
    indent = " " * column
    yield (
        f"{indent}{paint('selected', 'faint')}  {safe(choice.field)} {safe(choice.selector)}"
        f" is version {choice.version}"
    )
    losers = [f"not {version}: {safe(why)}" for version, why in choice.losers]
    yield from (f"{indent}  {paint(line, 'faint')}" for line in take_first(losers, _MOST_LOSERS))


def _reached(impact: Impact, paint: Paint) -> Iterator[str]:
    """A tree: what is reached, and below it how. What is reached of the changed object itself stands without
    a name."""
    found: dict[tuple[Address, str], list[str]] = {}
    for row in impact.traffic:
        found.setdefault((row.endpoint, row.stack), []).append(traffic(row))
    for taken in impact.capacity:
        found.setdefault((taken.endpoint, ""), []).append(capacity(taken, paint))
    # who loses is never what is cut
    users = sorted(impact.access, key=lambda row: row.gains)
    for user in users[:_MOST_ACCESS]:
        found.setdefault((user.resource, ""), []).append(access(user, paint))
    own = found.pop((impact.address, ""), [])
    branches: list[tuple[str, list[str]]] = [(line, []) for line in own]
    branches += [(_whose(*reached, paint), lines) for reached, lines in found.items()]
    if len(users) > _MOST_ACCESS:
        branches.append((f"and {counted(len(users) - _MOST_ACCESS, 'more user')}", []))
    if branches:
        indent = " " * _INDENT
        yield f"{indent}{paint('reaches', 'strong')}"
        yield from (f"{indent}{line}" for line in tree(branches, paint))


def _whose(reached: Address, stack: str, paint: Paint) -> str:
    return safe(reached) + (paint(f" of stack {safe(stack)}", "yellow") if stack else "")


def tree(branches: Sequence[tuple[str, Sequence[str]]], paint: Paint = PLAIN) -> Iterator[str]:
    """Each with its leaves below it."""
    for place, (head, leaves) in enumerate(branches, 1):
        last = place == len(branches)
        yield f"{paint('└─' if last else '├─', 'faint')} {head}"
        for number, leaf in enumerate(leaves, 1):
            guides = f"{' ' if last else '│'}  {'└─' if number == len(leaves) else '├─'}"
            yield f"{paint(guides, 'faint')} {leaf}"


def traffic(row: Traffic) -> str:
    """`champion, 90 % of its traffic, follows @champion: version 3 → 4`."""
    parts = [safe(row.entity)]
    if row.share is not None:
        parts.append(f"{row.share:g} % of its traffic")
    if row.follows:
        parts.append(f"follows {safe(row.follows)}")
    match row.moves, row.version_before, row.version_after:
        case True, before, after if before != after:
            end = f": version {'–' if before is None else before} → {'–' if after is None else after}"
        case False, before, _ if before is not None:
            stays = "; stays until that stack is applied" if row.stack else ""
            end = f": version {before}{stays}"
        case _:
            end = ""
    return f"{', '.join(parts)}{end}"


def capacity(row: Capacity, paint: Paint = PLAIN) -> str:
    """Replicas, CPUs and GPUs before → after, the peak, and whether the cluster has it."""
    parts = [f"replicas {pair(row.replicas_before, row.replicas_after)}"]
    parts.append(f"CPUs {pair(row.cpus_before, row.cpus_after)}")
    if row.gpus_before or row.gpus_after:
        parts.append(f"GPUs {pair(row.gpus_before, row.gpus_after)}")
    peak = f"+{row.peak_cpus:g} CPUs" + (f" and +{row.peak_gpus:g} GPUs" if row.peak_gpus else "")
    free = "" if row.free_cpus is None else f", {row.free_cpus:g} free"
    if row.free_gpus is not None and row.peak_gpus:
        free += f" and {row.free_gpus:g} GPUs free"
    unfit = paint("does not fit", "strong", "red")
    fits = {True: ": fits", False: f": {unfit}", None: ": not known to fit"}[row.fits]
    if row.peak_cpus or row.peak_gpus:
        parts.append(f"{meanwhile(row)} {peak}{free}{fits}")
    return ", ".join(parts)


def access(row: Access, paint: Paint = PLAIN) -> str:
    """`▲ alice: READ → EDIT (role analysts: EDIT)`."""
    sign = paint("▲", "green") if row.gains else paint("▼", "red")
    why = f" ({safe(row.why)})" if row.why else ""
    return f"{sign} {safe(row.user)}: {safe(row.before)} → {safe(row.after)}{why}"


def summary(review: Review) -> Iterator[str]:
    """What of it belongs beside the tally: `1 denied`, `signature breaking`."""
    for outcome in (Outcome.DENIED, Outcome.WARNED, Outcome.WAIVED):
        if count := sum(v.outcome is outcome for v in review.verdicts):
            yield f"{count} {outcome}"
    if any(c.signature.verdict is SignatureClass.BREAKING for c in review.evidence):
        yield "signature breaking"
