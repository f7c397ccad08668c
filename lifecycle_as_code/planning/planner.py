"""Make a plan from the desired, the recorded and the live snapshot. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

from ..model.diagnostics import Diagnostic, refuse
from ..model.diff import diff, is_marked, restrict_to_owned, without_health
from ..model.plan import Action, Change, Limits, Mode, Override, Plan
from ..model.review import Choice, Review
from ..model.snapshot import Desired, Live, Record, Recorded
from ..model.spec import Address, Derived
from .decision import MANIFEST, decide, in_scope
from .guards import (
    ALONG,
    Check,
    PlanContext,
    check_dependents,
    check_mass_deletion,
    check_nothing_declared,
    check_protection,
    check_references,
    expand_deletions,
)
from .ordering import build_steps, link_changes, sort_changes, sort_key
from .renames import expand_removals
from .targeting import Selection, check_patterns, cut_desired, is_selected, select_addresses, warn_of_part


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to plan. `allow`: guards to override. `only`: exactly the addresses to plan. `because`: the reason
    of every change, if the manifests aren't it. `principal`: the applier's MLflow user."""

    mode: Mode = Mode.NORMAL
    allow: frozenset[str] = frozenset()
    selection: Selection = Selection()
    limits: Limits = Limits()
    principal: str = ""
    only: frozenset[Address] | None = None
    because: str = ""


def make_plan(
    desired: Desired,
    recorded: Recorded,
    live: Live,
    *,
    stack: str,
    environment: str = "",
    checks: Sequence[Check] = (),
    options: PlanOptions = PlanOptions(),
    origins: Mapping[Address, Address] | None = None,
) -> Plan:
    """The plan from live to desired, which is resolved. LacError with every obstacle at once. `origins`: the
    present addresses of objects that are renamed; the snapshots have the new ones."""
    desired = replace(desired, removals=expand_removals(desired, recorded))
    known = {*desired.objects, *recorded.ours, *in_scope(desired, recorded, live)}
    if options.only is not None:
        known = set(options.only)
    # most objects usually don't change: only the others are sorted
    outcomes = [(a, it) for a in known if (it := decide(a, desired, recorded, live)) is not None]
    decisions = dict(sorted(outcomes, key=lambda pair: sort_key(pair[0])))
    changes = {a: c for a, c in decisions.items() if isinstance(c, Change)}
    changes = _add_origins(changes, origins or {}, recorded, live)
    changes |= expand_deletions(changes, desired.objects, recorded, live, options.allow)
    chosen = Review(choices=desired.choices).by_address()
    links = [
        _word_reason(change, options, chosen.get(change.address, Review()).choices)
        for change in link_changes(changes)
    ]
    scope: frozenset[Address] | None = options.only
    problems = [*check_patterns(options.selection, known)]
    if options.selection:
        scope = select_addresses(links, options.selection)
        links = [change for change in links if change.address in scope]
        about = {*cut_desired(desired, options.selection, recorded).objects, *scope}
        decisions = {a: d for a, d in decisions.items() if a in about or is_selected(a, options.selection)}
    world = PlanContext(
        desired.objects,
        recorded,
        live,
        {change.address: change for change in links},
        desired.places,
        desired.lifecycles,
        options.limits,
        scope,
        options.principal,
    )
    problems += [
        *(d for d in decisions.values() if isinstance(d, Diagnostic)),
        *check_references(world),
        *check_dependents(world),
        *_guards(world, options),
        *(problem for check in checks for problem in check(world)),
    ]
    overridden = [p for p in problems if p.guard in options.allow and p.severity == "error"]
    problems = [_with_flag(p) for p in problems if p not in overridden]
    # a pattern that matches no file may be the reason for deletions
    refuse(problems, beside=(*desired.warnings, *live.diagnostics))
    notes = [*desired.warnings, *live.diagnostics, *_hidden_grants(desired, recorded, live), *problems]
    if options.selection:
        notes.append(warn_of_part(options.selection))
    return Plan(
        stack,
        environment,
        ordering := tuple(sort_changes(links)),
        build_steps(ordering),
        tuple(notes),
        options.mode,
        tuple(Override(p.guard, p.detail) for p in overridden),
    )


def make_refresh(
    recorded: Recorded,
    live: Live,
    *,
    stack: str,
    environment: str = "",
    selection: Selection = Selection(),
) -> Plan:
    """The plan that updates the records to match live state and changes no resources, as Terraform's
    `-refresh-only`. It ignores the health of endpoints and interrupted applies."""
    refuse(check_patterns(selection, [*recorded.ours]))
    changes = [
        change
        for record in recorded.ours.values()
        if is_selected(record.address, selection)
        if (change := _refresh_record(record, live)) is not None
    ]
    ordering = tuple(sort_changes(changes))
    notes = (*live.diagnostics, *([warn_of_part(selection)] if selection else []))
    return Plan(stack, environment, ordering, build_steps(ordering), notes, Mode.REFRESH_ONLY)


def _refresh_record(record: Record, live: Live) -> Change | None:
    address, observed = record.address, live.present(record.address)
    if record.spec is None or record.pending is not None:
        return None
    if observed is None:
        return Change(address, record.store, Action.FORGET, "deleted outside")
    before = restrict_to_owned(observed.spec, record.spec)
    now = without_health(before)
    fields = diff(without_health(record.spec), now)
    change = Change(address, record.store, Action.RECORD, "changed outside", before, now, fields)
    return replace(change, protected=record.protected) if fields else None


def _guards(world: PlanContext, options: PlanOptions) -> Iterator[Diagnostic]:
    yield from check_protection(world)
    if options.mode is Mode.DESTROY:
        return
    yield from check_mass_deletion(world)
    if options.only is None:
        yield from check_nothing_declared(world)


def _with_flag(problem: Diagnostic) -> Diagnostic:
    """The problem, with the flag that overrides its guard in the hint."""
    if not problem.guard or problem.severity != "error":
        return problem
    way = f"to override the guard: `--allow={problem.guard}`"
    return replace(problem, hint=f"{problem.hint}\n{way}" if problem.hint else way)


def _word_reason(change: Change, options: PlanOptions, choices: Sequence[Choice]) -> Change:
    """The change with its reason. A change that only follows an alias, or that another deletion causes, keeps
    its own. A change of versions by selectors alone names those: the manifest may be unchanged."""
    if change.reason.startswith(ALONG):
        return change
    if options.because and change.action.is_difference and not change.reason.startswith("follows "):
        return replace(change, reason=options.because)
    if change.reason == MANIFEST and (selected := _list_selectors(change, choices)):
        return replace(change, reason=f"selected by {'; '.join(selected)}")
    if options.mode is Mode.DESTROY and change.action is Action.DELETE:
        return replace(change, reason="destroyed with its stack")
    return change


def _list_selectors(change: Change, choices: Sequence[Choice]) -> list[str]:
    """The selectors of the changed fields; empty if a field without a selector changes as well."""
    kind: Any = type(change.after)
    fields = {field.name for field in change.fields if not is_marked(kind, field.path, Derived)}
    selectors = [
        shorten(choice.selector, 120, placeholder="…") for choice in choices if choice.field in fields
    ]
    return selectors if len(selectors) == len(fields) else []


def _add_origins(
    changes: Mapping[Address, Change], origins: Mapping[Address, Address], recorded: Recorded, live: Live
) -> dict[Address, Change]:
    """The changes with renamed objects' present addresses, and a MOVE for each that wouldn't change."""
    result = dict(changes)
    for address, origin in origins.items():
        record, observed = recorded.ours.get(address), live.present(address)
        if change := result.get(address):
            # a rename changes more than lac's record
            action = Action.MOVE if change.action is Action.RECORD else change.action
            result[address] = replace(change, action=action, moved_from=origin)
        elif record is not None and observed is not None and record.spec is not None:
            spec = restrict_to_owned(observed.spec, record.spec)
            move = Change(address, record.store, Action.MOVE, f"moved from {origin}", spec, spec)
            result[address] = replace(move, moved_from=origin, protected=record.protected)
    return result


def _hidden_grants(desired: Desired, recorded: Recorded, live: Live) -> Iterator[Diagnostic]:
    for address, observed in live.objects.items():
        scope = observed.spec.scope() if observed.hidden else None
        claim = desired.scopes.get(scope) if scope else None
        if claim and not claim.exclusive and address not in recorded.ours and address not in recorded.others:
            yield Diagnostic(
                "hidden-grant",
                "a user holds a grant of their own",
                f"{address} belongs to user `{observed.hidden}`, granted through MLflow; it is left alone.",
                hint="write `exclusive: all` beside `permissions:` to remove such grants",
                at=claim.at,
                severity="warning",
            )
