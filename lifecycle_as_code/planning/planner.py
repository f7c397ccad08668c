"""From the difference between desired, recorded and live to a Plan: decided, guarded, in order. Pure.

`apply` executes the very list that is printed from a Plan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten

from ..model.diagnostics import Diagnostic, refuse
from ..model.diff import FieldChange, diff, is_marked, owned, without_health
from ..model.plan import Action, Allowed, Change, Limits, Mode, Plan
from ..model.review import Choice
from ..model.snapshot import Desired, Live, Record, Recorded
from ..model.spec import Address, Derived
from .decision import MANIFEST, decide, in_scope
from .guards import ALONG, Check, World, emptied, mass_deletion, missing, protected, still_used, taken_along
from .ordering import in_order, linked, steps
from .renames import removed
from .targeting import Selection, asked, in_part, kept, part_of, unknown


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a plan is asked for, beside what is desired.

    `allow`: guards to let through. `only`: the addresses that it is about, exactly; None for all.
    `because`: the reason of every change, where the manifests aren't it. `principal`: the user of MLflow's
    that the applier is.
    """

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
    """The plan from live to desired. LacError with every obstacle at once.

    `desired` is resolved: aliases pinned, sources in the store's form. `origins`: what objects that are
    renamed are called until then; the snapshots have their new names.
    """
    desired = replace(desired, removals=removed(desired, recorded))
    known = {*desired.objects, *recorded.ours, *in_scope(desired, recorded, live)}
    if options.only is not None:
        known = set(options.only)
    # most often nothing is to be done about most objects: only the rest is brought in order
    found = [(a, it) for a in known if (it := decide(a, desired, recorded, live)) is not None]
    decided = dict(sorted(found, key=lambda pair: _by(pair[0])))
    changes = {a: c for a, c in decided.items() if isinstance(c, Change)}
    changes = _with_origins(changes, origins or {}, recorded, live)
    changes |= taken_along(changes, desired.objects, recorded, live, options.allow)
    choices = _by_object(desired.choices)
    links = [_worded(change, options, choices.get(change.address, ())) for change in linked(changes)]
    judged: frozenset[Address] | None = options.only
    problems = [*unknown(options.selection, known)]
    if options.selection:
        judged = kept(links, options.selection)
        links = [change for change in links if change.address in judged]
        about = {*part_of(desired, options.selection, recorded).objects, *judged}
        decided = {a: d for a, d in decided.items() if a in about or asked(a, options.selection)}
    world = World(
        desired.objects,
        recorded,
        live,
        {change.address: change for change in links},
        desired.places,
        desired.lifecycles,
        options.limits,
        judged,
        options.principal,
    )
    problems += [
        *(d for d in decided.values() if isinstance(d, Diagnostic)),
        *missing(world),
        *still_used(world),
        *_guards(world, options),
        *(problem for check in checks for problem in check(world)),
    ]
    passed = [p for p in problems if p.guard in options.allow and p.severity == "error"]
    problems = [_with_flag(p) for p in problems if p not in passed]
    # a pattern that matched no file may be why everything would go
    refuse(problems, beside=(*desired.warnings, *live.diagnostics))
    notes = [*desired.warnings, *live.diagnostics, *_hidden_grants(desired, recorded, live), *problems]
    if options.selection:
        notes.append(in_part(options.selection))
    return Plan(
        stack,
        environment,
        ordered := tuple(in_order(links)),
        steps(ordered),
        tuple(notes),
        options.mode,
        tuple(Allowed(p.guard, p.detail) for p in passed),
    )


def make_refresh(
    recorded: Recorded,
    live: Live,
    *,
    stack: str,
    environment: str = "",
    selection: Selection = Selection(),
) -> Plan:
    """The plan that takes what changed outside for what was applied: only our records change, as with
    Terraform's `-refresh-only`. How an endpoint fares, and an effect that was interrupted, are left alone."""
    refuse(unknown(selection, [*recorded.ours]))
    changes = [
        change
        for record in recorded.ours.values()
        if asked(record.address, selection)
        if (change := _refreshed(record, live)) is not None
    ]
    ordered = tuple(in_order(changes))
    notes = (*live.diagnostics, *([in_part(selection)] if selection else []))
    return Plan(stack, environment, ordered, steps(ordered), notes, Mode.REFRESH_ONLY)


def _refreshed(record: Record, live: Live) -> Change | None:
    address, found = record.address, live.present(record.address)
    if record.spec is None or record.pending is not None:
        return None
    if found is None:
        return Change(address, record.store, Action.FORGET, "deleted outside", None, None)
    seen = owned(found.spec, record.spec)
    now = without_health(seen)
    fields = diff(without_health(record.spec), now)
    if not fields:
        return None
    return Change(
        address,
        record.store,
        Action.RECORD,
        "changed outside",
        seen,
        now,
        fields,
        protected=record.protected,
    )


def _guards(world: World, options: PlanOptions) -> Iterator[Diagnostic]:
    yield from protected(world)
    if options.mode is Mode.DESTROY:
        return
    yield from mass_deletion(world)
    if options.only is None:
        yield from emptied(world)


def _with_flag(problem: Diagnostic) -> Diagnostic:
    """The problem with the flag that lets it through among its ways out."""
    if not problem.guard or problem.severity != "error":
        return problem
    way = f"to do it all the same: `--allow={problem.guard}`"
    return replace(problem, hint=f"{problem.hint}\n{way}" if problem.hint else way)


def _by_object(choices: Sequence[Choice]) -> Mapping[Address, Sequence[Choice]]:
    found: defaultdict[Address, list[Choice]] = defaultdict(list)
    for choice in choices:
        found[choice.address].append(choice)
    return found


def _worded(change: Change, options: PlanOptions, choices: Sequence[Choice]) -> Change:
    """Why, where it isn't for the manifests. What only follows an alias follows it here, too, and what goes
    with something else isn't this stack's. What only a selector moved is told as that: the manifest may say
    what it said."""
    if change.reason.startswith(ALONG):
        return change
    if options.because and change.action.is_difference and not change.reason.startswith("follows "):
        return replace(change, reason=options.because)
    if change.reason == MANIFEST and (selected := _selected(change, choices)):
        return replace(change, reason=f"selected by {'; '.join(selected)}")
    if options.mode is Mode.DESTROY and change.action is Action.DELETE:
        return replace(change, reason="destroyed with its stack")
    return change


def _selected(change: Change, choices: Sequence[Choice]) -> list[str]:
    """The selectors whose fields are all that differs, but for what follows from them."""
    named = {field.name for field in change.fields if not _follows_from(change, field)}
    moved = [shorten(choice.selector, 120, placeholder="…") for choice in choices if choice.field in named]
    return moved if len(moved) == len(named) else []


def _follows_from(change: Change, field: FieldChange) -> bool:
    return change.after is not None and is_marked(type(change.after), field.path, Derived)


def _with_origins(
    changes: Mapping[Address, Change], origins: Mapping[Address, Address], recorded: Recorded, live: Live
) -> dict[Address, Change]:
    """Renamed objects say what they are called until then; where nothing but our record would change, that
    is the change."""
    found = dict(changes)
    for address, origin in origins.items():
        record, seen = recorded.ours.get(address), live.present(address)
        if change := found.get(address):
            # a rename is more than our record's catching up
            action = Action.MOVE if change.action is Action.RECORD else change.action
            found[address] = replace(change, action=action, moved_from=origin)
        elif record is not None and seen is not None and record.spec is not None:
            spec = owned(seen.spec, record.spec)
            found[address] = Change(
                address,
                record.store,
                Action.MOVE,
                f"moved from {origin}",
                spec,
                spec,
                moved_from=origin,
                protected=record.protected,
            )
    return found


def _hidden_grants(desired: Desired, recorded: Recorded, live: Live) -> Iterator[Diagnostic]:
    for address, found in live.objects.items():
        scope = found.spec.scope() if found.hidden else None
        claim = desired.scopes.get(scope) if scope else None
        if claim and not claim.exclusive and address not in recorded.ours and address not in recorded.others:
            yield Diagnostic(
                "hidden-grant",
                "a user holds a grant of their own",
                f"{address} belongs to user `{found.hidden}`, granted through MLflow; it is left alone.",
                hint="write `exclusive: all` beside `permissions:` to have such grants removed",
                at=claim.at,
                severity="warning",
            )


def _by(address: Address) -> tuple[str, tuple[tuple[bool, object], ...]]:
    return address.kind, tuple((isinstance(part, str), part) for part in address.key)
