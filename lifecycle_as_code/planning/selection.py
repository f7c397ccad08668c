"""Version selectors to numbers: which version each one means, and why the others lost. Pure.

An alias that another alias's selector names is resolved first, so `champion: {alias: challenger}` beside
`challenger: 5` gives 5, whatever `challenger` points at until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from ..model.cel import Answer
from ..model.diagnostics import Diagnostic, Source, did_you_mean
from ..model.predicate import Facts, compiled
from ..model.review import Choice
from ..model.selector import Slot, VersionSelector, pinned, slots
from ..model.snapshot import Desired, Live, Recorded
from ..model.spec import Address, Spec
from ..model.text import shorten
from .candidates import Candidate, candidates
from .renames import removed

MOST: Final = 20
"""How many versions are told of, the newest first."""

Fields = tuple[str, ...]
Places = Mapping[tuple[Address, Fields], Source]


@dataclass(frozen=True, slots=True)
class Chosen:
    """`desired` with numbers in place of selectors, and its `choices`. Selectors that mean no one version are
    left as they are, each with the problem; one problem may be that of several."""

    desired: Desired
    problems: tuple[tuple[Address, Diagnostic], ...] = ()


def chosen(desired: Desired, recorded: Recorded, live: Live) -> Chosen:
    """Every selector resolved. `live.settled` has the versions that are to be made, with their runs."""
    every = [slot for spec in desired.objects.values() for slot in slots(spec)]
    if not every:
        return Chosen(desired)
    order, circles = _in_order(every)
    stuck = {slot.address: problem for circle in circles for slot, problem in _told(circle, desired)}
    problems = list(stuck.items())
    there = candidates(desired, recorded, live)
    world = _World(desired, recorded, live, dict(desired.objects))
    choices: list[Choice] = []
    for slot in order:
        named = slot.alias
        if named in stuck:
            choice: Choice | Diagnostic = stuck[named]
        elif (kept := world.kept(slot.address)) is not None:
            world.pin(slot, kept)
            continue
        elif named is not None:
            choice = world.pointed_at(slot, named)
        else:
            choice = _fitting(slot, there.get(slot.model, ()))
        match choice:
            case Choice():
                choices.append(choice)
                world.pin(slot, choice.version)
            case Diagnostic():
                at = choice.at or _place(slot, desired)
                stuck[slot.address] = replace(choice, at=at)
                problems.append((slot.address, stuck[slot.address]))
    choices.sort(key=lambda choice: (str(choice.address), choice.field))
    return Chosen(replace(desired, objects=world.objects, choices=tuple(choices)), tuple(problems))


def check_cycles(desired: Desired) -> Iterator[Diagnostic]:
    """Selectors that lead back to themselves, one problem a cycle; no store is needed to see that."""
    every = [slot for spec in desired.objects.values() for slot in slots(spec)]
    for circle in _in_order(every)[1]:
        yield next(_told(circle, desired))[1]


# --- aliases that name aliases


def _in_order(every: Sequence[Slot]) -> tuple[list[Slot], list[list[Slot]]]:
    """Each after the one that it names; apart from them, those that lead in a circle."""
    onward = {slot.address: slot for slot in every}
    order: list[Slot] = []
    circles: list[list[Slot]] = []
    done: set[tuple[Address, Fields]] = set()
    for start in every:
        path: dict[tuple[Address, Fields], Slot] = {}
        slot: Slot | None = start
        while slot is not None and (key := (slot.address, slot.path)) not in done:
            if key in path:
                round_ = list(path.values())[list(path).index(key) :]
                circles.append(round_)
                done |= {(s.address, s.path) for s in round_}
                break
            path[key] = slot
            slot = onward.get(slot.alias) if slot.alias is not None else None
        order += [s for k, s in reversed(path.items()) if k not in done]
        done |= path.keys()
    return order, circles


def _told(circle: Sequence[Slot], desired: Desired) -> Iterator[tuple[Slot, Diagnostic]]:
    names = [str(slot.address) for slot in (*circle, circle[0])]
    told = names if len(names) <= MOST else [*names[:MOST], "…"]
    problem = Diagnostic(
        "selector-cycle",
        "version selectors lead in a circle",
        f"{' → '.join(told)}.",
        hint="give one of them a version, or a selector of another sort",
        at=min((at for slot in circle if (at := _place(slot, desired))), default=None),
    )
    yield from ((slot, problem) for slot in circle)


@dataclass(frozen=True, slots=True)
class _World:
    """What aliases point at. `objects`: desired ones, with numbers as far as they are found."""

    desired: Desired
    recorded: Recorded
    live: Live
    objects: dict[Address, Spec]

    def pin(self, slot: Slot, version: int) -> None:
        self.objects[slot.address] = pinned(self.objects[slot.address], slot.loc, version)

    def kept(self, address: Address) -> int | None:
        """The version of an alias that exists and that the manifests leave where it is."""
        lifecycle, seen = self.desired.lifecycles.get(address), self.live.present(address)
        ignored = lifecycle.ignore_changes if lifecycle else ()
        return _version(seen.spec) if seen and "version" in ignored else None

    def pointed_at(self, slot: Slot, alias: Address) -> Choice | Diagnostic:
        """What the alias points at once the plan is applied."""
        seen = self.live.present(alias)
        if alias in self.objects:
            kept = self.kept(alias)
            return _choice(slot, kept if kept is not None else _version(self.objects[alias]))
        if seen is None:
            known = {a for a in (*self.objects, *self.live.objects) if a.kind == alias.kind}
            names = [str(a.key[1]) for a in known if a.key[0] == slot.model and a != slot.address]
            hint = did_you_mean(str(alias.key[1]), names[:100])
            return _nothing(slot, f"Model `{slot.model}` has no alias `{alias.key[1]}`.", hint)
        if alias in self.recorded.ours and alias not in removed(self.desired, self.recorded):
            hint = f"write the version that it points at, {_version(seen.spec)}, or keep {alias} declared"
            return _nothing(slot, f"{alias} is no longer declared, and will be deleted.", hint)
        return _choice(slot, _version(seen.spec))


def _version(spec: Any) -> int:
    version: int = spec.version
    return version


# --- versions by what they are


def _fitting(slot: Slot, every: Sequence[Candidate]) -> Choice | Diagnostic:
    told = [(c.facts, c.barred or why) for c, why in zip(every, _lost(slot.selector, every), strict=True)]
    fit = [facts for facts, why in told if not why]
    match fit:
        case []:
            hint = "" if every else f"register one with MLflow, or declare `versions:` under `{slot.model}`"
            return _nothing(slot, _listed(slot, told), hint)
        case [one]:
            return _choice(slot, one.version, [(facts.version, why) for facts, why in told if why])
    selector = slot.selector
    hint = "name one by its number"
    if selector.where is not None:
        hint = "add `newest: true`, or say more in `where`"
    return Diagnostic(
        "selector-ambiguous",
        "a version selector fits several versions",
        f"{_head(slot)} fits {len(fit)} versions of model `{slot.model}`:\n{_lines(told)}",
        hint=hint,
    )


def _lost(selector: VersionSelector, every: Sequence[Candidate]) -> Iterator[str]:
    """Why each candidate, the newest first, isn't meant; empty for those that are. What is barred isn't
    asked."""
    fits = _test(selector)
    first = 0
    for candidate in every:
        why = "barred" if candidate.barred else fits(candidate.facts)
        if not why and (selector.latest or selector.newest):
            first = first or candidate.facts.version
            why = "" if candidate.facts.version == first else f"older than {first}"
        yield why


def _test(selector: VersionSelector) -> Callable[[Facts], str]:
    """Why a version doesn't fit; empty where it does."""
    if selector.where is not None:
        condition = compiled(selector.where)
        return lambda facts: _unmet(condition(facts))
    if (run := selector.run_id) is not None:
        return lambda facts: "" if facts.run_id == run else _of_run(facts)
    return lambda _: ""


def _unmet(answer: Answer) -> str:
    if answer.why:
        return f"`where` can't be told: {shorten(answer.why, 40)}"
    return "" if answer.met else "`where` is false"


def _of_run(facts: Facts) -> str:
    return f"of run {shorten(facts.run_id, 40)}" if facts.run_id else "of no run"


# --- what is said


def _choice(slot: Slot, version: int, losers: Iterable[tuple[int, str]] = ()) -> Choice:
    return Choice(slot.address, slot.field, str(slot.selector), version, tuple(islice(losers, MOST)))


def _nothing(slot: Slot, detail: str, hint: str) -> Diagnostic:
    return Diagnostic(
        "selector-matches-nothing",
        "a version selector fits no version",
        f"{_head(slot)} fits nothing. {detail}",
        hint=hint,
    )


def _head(slot: Slot) -> str:
    return f"{slot.address}: `{slot.field}: {shorten(str(slot.selector), 200)}`"


def _listed(slot: Slot, told: Sequence[tuple[Facts, str]]) -> str:
    if not told:
        return f"Model `{slot.model}` has no version."
    return f"Model `{slot.model}` has:\n{_lines(told)}"


def _lines(told: Sequence[tuple[Facts, str]]) -> str:
    lines = [f"{facts.version}: {why or 'fits'}{_about(facts, why)}" for facts, why in told[:MOST]]
    if (left := len(told) - MOST) > 0:
        lines.append(f"and {left:,} older one{'s' if left > 1 else ''}")
    return "\n".join(lines)


def _about(facts: Facts, why: str) -> str:
    run = [f"run {facts.run_id}"] if facts.run_id and not why.startswith("of run") else []
    tags = [
        f"{shorten(key, 40)}={shorten(value, 40)}" for key, value in islice(sorted(facts.tags.items()), 6)
    ]
    more = [f"{len(facts.tags) - 6} more tags"] if len(facts.tags) > 6 else []
    told = ", ".join([*run, *tags, *more])
    return f" ({told})" if told else ""


def _place(slot: Slot, desired: Desired) -> Source | None:
    return desired.selected_at.get((slot.address, slot.path)) or desired.places.get(slot.address)
