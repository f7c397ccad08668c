"""Version choices, evidence, impacts and verdicts on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from ...model.review import Access, Capacity, Choice, Impact, Outcome, Review, Traffic, Verdict
from ...model.spec import Address
from ...model.text import join_first, take_first
from .. import reach
from ..summary import OUTCOMES, sort_verdicts
from ..text import PLAIN, Paint, pluralize, safe
from .evidence import comparison

_INDENT = 6
_MOST_ACCESS = 12
_MOST_LOSERS = 5
_MOST_NAMES = 6


def beneath(
    part: Review | None,
    paint: Paint = PLAIN,
    *,
    width: int = 100,
    repeats: Mapping[tuple[Address, str], Address] = MappingProxyType({}),
) -> list[str]:
    """The lines below one change: how its versions were selected, evidence, impact, and the policies that
    deny or warn. `repeats`: the change under which the same evidence is printed, by change and entity."""
    if part is None:
        return []
    return [
        *(line for choice in part.choices for line in selection(choice, paint, _INDENT)),
        *(
            line
            for c in part.evidence
            for line in comparison(c, paint, width, repeats.get((c.address, c.entity)))
        ),
        *(line for impact in part.impacts for line in _impact(impact, paint)),
        *_outcomes(part, paint),
    ]


def _outcomes(part: Review, paint: Paint) -> Iterator[str]:
    """The names of policies that deny, warn or are waived; `verdicts` has their details."""
    for outcome, (sign, colour) in OUTCOMES.items():
        names = [safe(v.policy) for v in part.verdicts if v.outcome is outcome]
        if names and outcome is not Outcome.PASSED:
            yield f"{' ' * _INDENT}{paint(f'{sign} {outcome}', colour)} by {join_first(names, _MOST_NAMES)}"


def verdicts(review: Review, paint: Paint = PLAIN) -> Iterator[str]:
    """The policies' verdicts, the most severe first; those that passed on one line."""
    if not review.verdicts:
        return
    lines = [paint("Policies", "strong")]
    for verdict in sort_verdicts(review.verdicts):
        if verdict.outcome is not Outcome.PASSED:
            lines += _verdict(verdict, paint)
    if passed := [safe(v.policy) for v in review.verdicts if v.outcome is Outcome.PASSED]:
        sign, colour = OUTCOMES[Outcome.PASSED]
        names = join_first([*dict.fromkeys(passed)], _MOST_NAMES)
        lines.append(f"  {paint(sign, colour)} {pluralize(len(passed), 'check')} passed: {names}")
    yield "\n".join(lines)


def _verdict(verdict: Verdict, paint: Paint) -> Iterator[str]:
    sign, colour = OUTCOMES[verdict.outcome]
    place = f"  {paint(safe(verdict.at), 'faint')}" if verdict.at else ""
    name = paint(safe(verdict.policy), "strong")
    yield f"  {paint(sign, colour)} {name}  {paint(verdict.outcome, colour)}  {safe(verdict.address)}{place}"
    if verdict.message:
        yield f"      {safe(verdict.message)}"
    yield from (f"      {paint('not met:', 'faint')} {safe(requirement)}" for requirement in verdict.failed)
    if verdict.waiver:
        waiver = verdict.waiver
        where = f"  {paint(safe(waiver.at), 'faint')}" if waiver.at else ""
        yield f"      waived until {safe(waiver.expires)}: {safe(waiver.reason)}{where}"


def selection(choice: Choice, paint: Paint, column: int) -> Iterator[str]:
    """The version that a selector selects, and why it rejects the others."""
    indent = " " * column
    what = f"{safe(choice.field)} {safe(choice.selector)} → version {choice.version}"
    yield f"{indent}{paint('selected', 'faint')}  {what}"
    losers = [f"rejected {version}: {safe(why)}" for version, why in choice.losers]
    yield from (f"{indent}  {paint(line, 'faint')}" for line in take_first(losers, _MOST_LOSERS))


def _impact(impact: Impact, paint: Paint) -> Iterator[str]:
    """A tree: the affected objects, and below each how. The changed object itself has no node."""
    effects: dict[tuple[Address, str], list[str]] = {}
    for row in impact.traffic:
        effects.setdefault((row.endpoint, row.stack), []).append(traffic(row))
    for need in impact.capacity:
        effects.setdefault((need.endpoint, ""), []).append(capacity(need, paint))
    # users who lose access come first: the rest is cut
    users = sorted(impact.access, key=lambda row: row.gains)
    for user in users[:_MOST_ACCESS]:
        effects.setdefault((user.resource, ""), []).append(access(user, paint))
    own = effects.pop((impact.address, ""), [])
    branches: list[tuple[str, list[str]]] = [(line, []) for line in own]
    branches += [(_object(*key, paint), lines) for key, lines in effects.items()]
    if len(users) > _MOST_ACCESS:
        branches.append((f"and {pluralize(len(users) - _MOST_ACCESS, 'more user')}", []))
    if branches:
        indent = " " * _INDENT
        yield f"{indent}{paint('affects', 'strong')}"
        yield from (f"{indent}{line}" for line in tree(branches, paint))


def _object(address: Address, stack: str, paint: Paint) -> str:
    return safe(address) + (paint(f" of stack {safe(stack)}", "yellow") if stack else "")


def tree(branches: Sequence[tuple[str, Sequence[str]]], paint: Paint = PLAIN) -> Iterator[str]:
    """Each branch with its leaves below it."""
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
            unchanged = "; unchanged until that stack is applied" if row.stack else ""
            end = f": version {before}{unchanged}"
        case _:
            end = ""
    return f"{', '.join(parts)}{end}"


def capacity(row: Capacity, paint: Paint = PLAIN) -> str:
    """Replicas, CPUs and GPUs before → after, the peak, and whether the cluster has that capacity."""
    parts = [f"replicas {reach.pair(row.replicas_before, row.replicas_after)}"]
    parts.append(f"CPUs {reach.pair(row.cpus_before, row.cpus_after)}")
    if row.gpus_before or row.gpus_after:
        parts.append(f"GPUs {reach.pair(row.gpus_before, row.gpus_after)}")
    if row.peak_cpus or row.peak_gpus:
        fit = reach.fit(row)
        parts.append(paint(fit, "strong", "red") if row.fits is False else fit)
    return ", ".join(parts)


def access(row: Access, paint: Paint = PLAIN) -> str:
    """`▲ alice: READ → EDIT (role analysts: EDIT)`."""
    sign = paint("▲", "green") if row.gains else paint("▼", "red")
    why = f" ({safe(row.why)})" if row.why else ""
    return f"{sign} {safe(row.user)}: {safe(row.before)} → {safe(row.after)}{why}"
