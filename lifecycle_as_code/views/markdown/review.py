"""The sections of a comment about a plan as a whole: verdicts, blast radius, and selected versions. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.plan import Plan
from ...model.review import Outcome, Verdict
from ...model.text import join_first, take_first
from .. import reach, summary
from .draft import Section, Weight
from .gfm import NAME, VALUE, bullets, first_rows, name_code, place, prose, prose_lines

_MOST_FAILED = 12


def verdict(verdict: Verdict) -> str:
    """One verdict, as an item of a list with items of its own."""
    head = f"- **{verdict.outcome}** by {name_code(verdict.policy)} for {name_code(verdict.address)}"
    head += f" at {place(verdict.line)}" if verdict.line else ""
    head += f" (policy: {place(verdict.at)})" if verdict.at else ""
    lines = [prose_lines(verdict.message)] if verdict.message else []
    lines += take_first([f"not met: {name_code(r, 2 * VALUE)}" for r in verdict.failed], _MOST_FAILED)
    if waiver := verdict.waiver:
        until = f"waived until the end of {name_code(waiver.expires)}"
        where = f" ({place(waiver.at)})" if waiver.at else ""
        lines.append(f"{until}{where}: {prose_lines(waiver.reason)}")
    return "\n".join([head, *bullets(lines, indent="  ")])


def review(plan: Plan) -> Iterator[Section]:
    """The sections that have content."""
    verdicts = plan.review.verdicts
    others = (v for v in verdicts if v.outcome not in (Outcome.DENIED, Outcome.PASSED))
    lines = [verdict(v) for v in summary.sort_verdicts(others)]
    if passed := dict.fromkeys(name_code(v.policy) for v in verdicts if v.outcome is Outcome.PASSED):
        lines.append(f"- **passed**: {join_first([*passed], 20)}")
    if lines:
        yield Section(f"Policies: {summary.count_outcomes(verdicts)}", "\n".join(lines), Weight.HIGH)
    if blocks := [*_traffic(plan), *_capacity(plan), *_access(plan)]:
        yield Section("Blast radius", "\n\n".join(blocks), Weight.HIGH)
    if plan.review.choices:
        yield Section("Selected versions", "\n".join(_choices(plan)), Weight.MEDIUM)


def _traffic(plan: Plan) -> list[str]:
    rows = [
        [
            name_code(t.endpoint),
            name_code(t.entity),
            reach.share(t),
            reach.version(t),
            f"follows {name_code(t.follows)}" if t.follows else "pinned",
            prose(reach.timing(t)),
            join_first([name_code(address) for address in causes]),
        ]
        for t, causes in reach.traffic(plan).items()
    ]
    head = ["Endpoint", "Served entity", "Traffic", "Version", "Source", "When", "Because of"]
    return first_rows(head, rows, right=(2,))


def _capacity(plan: Plan) -> list[str]:
    rows = [
        [
            name_code(c.endpoint),
            reach.pair(c.replicas_before, c.replicas_after),
            reach.pair(c.cpus_before, c.cpus_after),
            reach.pair(c.gpus_before, c.gpus_after),
            f"**{reach.fit(c)}**" if c.fits is False else reach.fit(c),
        ]
        for c in reach.capacity(plan)
    ]
    return first_rows(["Endpoint", "Replicas", "CPUs", "GPUs", "Cluster capacity"], rows)


def _access(plan: Plan) -> list[str]:
    rows = [
        [
            reach.direction(a),
            name_code(a.user),
            name_code(a.resource),
            name_code(a.before),
            name_code(a.after),
            prose_lines(a.why),
        ]
        for a in reach.access(plan)
    ]
    return first_rows(["Access", "User", "Object", "Before", "After", "Why"], rows)


def _choices(plan: Plan) -> list[str]:
    lines = []
    for choice in plan.review.choices:
        where = name_code(f"{choice.address}: {choice.field}", 2 * NAME)
        head = f"{where} {name_code(choice.selector, VALUE)} → version **{choice.version}**"
        losers = [f"rejected {version}: {prose_lines(why)}" for version, why in choice.losers]
        lines.append("\n".join([head, *bullets(losers, _MOST_FAILED, indent="  ")]))
    return bullets(lines)
