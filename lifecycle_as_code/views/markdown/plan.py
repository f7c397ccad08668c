"""A plan as a pull request's comment, in GitHub's flavour of Markdown: denials, changes, evidence, impact and
verdicts, in collapsed sections. Pure.

`gfm` escapes every text; `draft` cuts the comment to GitHub's limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...model.diagnostics import Diagnostic, in_file_order
from ...model.plan import Plan
from ...model.review import Review
from ...model.text import join_first
from .. import summary, versions
from ..text import Paint, Style, pluralize
from .change import change, rows
from .draft import Draft, Section, Weight, fit
from .gfm import bullets, caution, code, html_code, length, name_code, place, prose, prose_lines, table
from .review import review, verdict

LIMIT = 65_000
"""Characters. GitHub takes 65,536; the rest is for the marker of the caller."""

_DENIALS = 40_000
"""The most characters of denials."""

_REMEDY = (
    "See everything with `lac plan --html`, or with `lac show FILE` for a plan saved by `lac plan -o FILE`."
)


class _Bold(Paint):
    """Bold type for the strong style; no colours."""

    def __call__(self, text: str, *styles: Style) -> str:
        return f"**{text}**" if "strong" in styles else text


def plan(plan: Plan) -> str:
    """The comment; the caller adds a marker."""
    parts = plan.review.by_address()
    changes = summary.sort_by_weight(summary.list_changes(plan), parts)
    evidence = {address: part.evidence for address, part in parts.items()}
    weights = [Weight(summary.weight(parts.get(c.address, Review()))) for c in changes]
    repeats = versions.find_repeats(each for c in changes for each in evidence.get(c.address, ()))
    draft = Draft(
        [*_summary(plan), *_denials(plan)],
        rows(changes, evidence),
        [
            *(
                change(c, evidence.get(c.address, ()), repeats, weight)
                for c, weight in zip(changes, weights, strict=True)
            ),
            *review(plan),
            *_rest(plan),
        ],
        _REMEDY,
        weights,
    )
    return fit(draft, LIMIT)


def problems(diagnostics: Iterable[Diagnostic]) -> str:
    """The errors of a plan that failed, as the comment in its place."""
    ordered = in_file_order(dict.fromkeys(diagnostics))
    errors = sum(d.severity == "error" for d in ordered)
    lines = ([d.severity, place(d.at), prose(d.summary)] for d in ordered)
    sections = [Section(f"{d.severity} {html_code(d.code)}", _detail(d)) for d in ordered]
    draft = Draft(
        [f"**Failed:** {pluralize(errors, 'error')}"],
        table(["Severity", "Place", "Summary"], lines).splitlines(),
        sections,
        "`lac plan` prints everything.",
    )
    return fit(draft, LIMIT)


def _summary(plan: Plan) -> Iterator[str]:
    words = [f"**{b.words}**" if b.tone == "bad" else b.words for b in summary.badges(plan)]
    yield " · ".join([summary.tally(plan, _Bold()), *words])
    yield stack(plan)


def stack(plan: Plan) -> str:
    """The stack and its environment."""
    environment = f", environment {name_code(plan.environment)}" if plan.environment else ""
    return f"Stack {name_code(plan.stack)}{environment}"


def _denials(plan: Plan) -> Iterator[str]:
    """All denials; where they are too long, the first ones whole and the number of the others."""
    verdicts = plan.review.denied
    if not verdicts:
        return
    lines = [f"**{pluralize(len(verdicts), 'policy denies', 'policies deny')} this plan.**", ""]
    size = 0
    for number, one in enumerate(verdicts):
        text = verdict(one)
        # quoting adds a mark to each line
        size += length(text) + 3 * (text.count("\n") + 1)
        if size > _DENIALS:
            lines.append(f"- and {len(verdicts) - number:,} more")
            break
        lines.append(text)
    yield caution("\n".join(lines))


def _rest(plan: Plan) -> Iterator[Section]:
    """Overridden guards, diagnostics, steps and changes of records."""
    if plan.allowed:
        guards = [f"{name_code(v.guard)}: {prose_lines(v.detail)}" for v in plan.allowed]
        heading = f"Overridden: {pluralize(len(guards), 'guard')}"
        yield Section(heading, "\n".join(bullets(guards)), Weight.MEDIUM)
    yield from diagnostics(plan.diagnostics)
    if steps := summary.rollout(plan):
        lines = [
            f"{number}. {step.phase} ({summary.STORES[step.store]}): "
            + join_first([name_code(c.address) for c in changes], 10)
            for number, (step, changes) in enumerate(steps, 1)
        ]
        yield Section(pluralize(len(lines), "step"), "\n".join(lines))
    if records := [prose_lines(line) for line in summary.list_record_changes(plan)]:
        yield Section("Records only", "\n".join(bullets(records)))


def diagnostics(diagnostics: Iterable[Diagnostic]) -> Iterator[Section]:
    """A section for the errors, and one for the warnings."""
    ordered = in_file_order(dict.fromkeys(diagnostics))
    for severity in ("error", "warning"):
        if texts := [f"{_head(d)}<br>{_detail(d)}" for d in ordered if d.severity == severity]:
            yield Section(pluralize(len(texts), severity), "\n".join(bullets(texts)), Weight.MEDIUM)


def _head(problem: Diagnostic) -> str:
    where = f" at {place(problem.at)}" if problem.at else ""
    return f"{code(problem.code)}{where}: {prose(problem.summary)}"


def _detail(problem: Diagnostic) -> str:
    lines = [prose_lines(problem.detail)] if problem.detail else []
    lines += [f"hint: {prose_lines(problem.hint)}"] if problem.hint else []
    return "<br>".join(lines)
