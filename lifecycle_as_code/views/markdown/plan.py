"""A plan as a pull request's comment, in GitHub's flavour of Markdown: what is refused first, then what
changes, then what it is judged by, in parts that open. Pure.

It decides nothing. Nothing in it can be anything but text, whatever it is called: see `gfm`. It is cut to
what GitHub takes: see `fit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...model.diagnostics import Diagnostic, in_file_order
from ...model.plan import Plan
from ...model.text import join_first
from .. import summary, versions
from ..terminal import plan as human
from ..text import Paint, Style, counted
from .change import change, rows
from .fit import Detail, Draft, Stays, fitted
from .gfm import code, html_code, items, length, named, place, prose, quoted, said, table
from .review import review, verdict

LIMIT = 65_000
"""Characters. GitHub takes 65,536; the rest is for whoever posts it."""

_DENIALS = 40_000
"""Characters that denials take at most."""

_HOW = "To see all of it: `lac show FILE`, for the plan that `lac plan -o FILE` saved, or `lac plan --html`."


class _Bold(Paint):
    """Strong where a terminal has it; no colours."""

    def __call__(self, text: str, *styles: Style) -> str:
        return f"**{text}**" if "strong" in styles else text


def plan(shown: Plan) -> str:
    """The comment, without a marker to find it by: whoever posts it adds one."""
    judged = shown.review.by_address()
    changes = summary.foremost(summary.listed(shown), judged)
    compared = {address: part.evidence for address, part in judged.items()}
    stays = [Stays(summary.weight(judged.get(c.address))) for c in changes]
    told = versions.told_first(each for c in changes for each in compared.get(c.address, ()))
    draft = Draft(
        [*_summary(shown), *_denied(shown)],
        rows(changes, compared),
        [
            *(
                change(c, compared.get(c.address, ()), told, long)
                for c, long in zip(changes, stays, strict=True)
            ),
            *review(shown),
            *_rest(shown),
        ],
        _HOW,
        stays,
    )
    return fitted(draft, LIMIT)


def problems(found: Iterable[Diagnostic]) -> str:
    """What it failed with, as the comment in the place of a plan."""
    told = in_file_order(dict.fromkeys(found))
    errors = sum(d.severity == "error" for d in told)
    lines = ([d.severity, place(d.at), prose(d.summary)] for d in told)
    parts = [Detail(f"{d.severity} {html_code(d.code)}", _detail(d)) for d in told]
    draft = Draft(
        [f"**Failed:** {counted(errors, 'error')}"],
        table(["Severity", "Where", "What"], lines).splitlines(),
        parts,
        "`lac plan` prints all of it.",
    )
    return fitted(draft, LIMIT)


def _summary(shown: Plan) -> Iterator[str]:
    words = [f"**{b.words}**" if b.tone == "bad" else b.words for b in summary.badges(shown)]
    yield " · ".join([summary.tally(shown, _Bold()), *words])
    yield where(shown)


def where(shown: Plan) -> str:
    """Which stack, and where."""
    return f"Stack {named(shown.stack)}" + (
        f", environment {named(shown.environment)}" if shown.environment else ""
    )


def _denied(shown: Plan) -> Iterator[str]:
    """All denials; where there are too many, the first ones whole and how many more."""
    denied = shown.review.denied
    if not denied:
        return
    told = [f"**This plan is refused:** {counted(len(denied), 'policy denies', 'policies deny')} it.", ""]
    spent = 0
    for number, one in enumerate(denied):
        text = verdict(one)
        # each line gets a mark of its own
        spent += length(text) + 3 * (text.count("\n") + 1)
        if spent > _DENIALS:
            told.append(f"- and {len(denied) - number:,} more")
            break
        told.append(text)
    yield quoted("\n".join(told), "CAUTION")


def _rest(shown: Plan) -> Iterator[Detail]:
    """What comes with any plan."""
    if shown.allowed:
        told = [f"{named(a.guard)}: {said(a.detail)}" for a in shown.allowed]
        yield Detail(f"Let through: {counted(len(told), 'guard')}", "\n".join(items(told)), Stays.LONG)
    yield from diagnostics(shown.diagnostics)
    if steps := summary.rollout(shown):
        told = [
            f"{number}. {step.phase} ({human.STORES[step.store]}): "
            + join_first([named(c.address) for c in changes], 10)
            for number, (step, changes) in enumerate(steps, 1)
        ]
        yield Detail(counted(len(told), "step"), "\n".join(told))
    if quiet := [said(line) for line in human.quiet(shown)]:
        yield Detail("Only our records", "\n".join(items(quiet)))


def diagnostics(found: Iterable[Diagnostic]) -> Iterator[Detail]:
    """A part for the errors, and one for the warnings."""
    ordered = in_file_order(dict.fromkeys(found))
    for severity in ("error", "warning"):
        if told := [f"{_head(d)}<br>{_detail(d)}" for d in ordered if d.severity == severity]:
            yield Detail(counted(len(told), severity), "\n".join(items(told)), Stays.LONG)


def _head(problem: Diagnostic) -> str:
    where = f" at {place(problem.at)}" if problem.at else ""
    return f"{code(problem.code)}{where}: {prose(problem.summary)}"


def _detail(problem: Diagnostic) -> str:
    told = [said(problem.detail)] if problem.detail else []
    told += [f"hint: {said(problem.hint)}"] if problem.hint else []
    return "<br>".join(told)
