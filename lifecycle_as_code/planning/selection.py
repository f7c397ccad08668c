"""Resolve version selectors: the version that each one chooses, and why the others lose. Pure. An alias that
another alias's selector names is resolved first, whatever it points at now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from ..model.cel import Answer
from ..model.diagnostics import Diagnostic, Source, did_you_mean
from ..model.predicate import Facts, compile_condition
from ..model.review import Choice
from ..model.selector import Slot, VersionSelector, pin_version, slots
from ..model.snapshot import Desired, Live, Recorded
from ..model.spec import Address, Spec
from ..model.text import shorten
from .candidates import Candidate, list_candidates
from .renames import expand_removals

MOST: Final = 20
"""How many versions an error lists, newest first."""

Fields = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resolution:
    """`desired` with numbers in place of selectors, and with its `choices`. A selector that can't be resolved
    stays, with its problem; several selectors may share one problem."""

    desired: Desired
    problems: tuple[tuple[Address, Diagnostic], ...] = ()


def choose_versions(desired: Desired, recorded: Recorded, live: Live) -> Resolution:
    """Resolve every selector. `live.settled` has the versions that the plan creates, with their runs."""
    every = [slot for spec in desired.objects.values() for slot in slots(spec)]
    if not every:
        return Resolution(desired)
    order, circles = _in_order(every)
    failures = {
        slot.address: problem for circle in circles for slot, problem in _report_cycle(circle, desired)
    }
    problems = list(failures.items())
    versions = list_candidates(desired, recorded, live)
    aliases = _Aliases(desired, recorded, live, dict(desired.objects))
    choices: list[Choice] = []
    for slot in order:
        alias = slot.alias
        if alias in failures:
            choice: Choice | Diagnostic = failures[alias]
        elif (pinned_version := aliases.ignored_version(slot.address)) is not None:
            aliases.pin(slot, pinned_version)
            continue
        elif alias is not None:
            choice = aliases.resolve(slot, alias)
        else:
            choice = _select(slot, versions.get(slot.model, ()))
        match choice:
            case Choice():
                choices.append(choice)
                aliases.pin(slot, choice.version)
            case Diagnostic():
                at = choice.at or _place(slot, desired)
                failures[slot.address] = replace(choice, at=at)
                problems.append((slot.address, failures[slot.address]))
    choices.sort(key=lambda choice: (str(choice.address), choice.field))
    return Resolution(replace(desired, objects=aliases.objects, choices=tuple(choices)), tuple(problems))


def check_cycles(desired: Desired) -> Iterator[Diagnostic]:
    """Selectors that lead back to themselves, one problem per cycle. Needs no store."""
    every = [slot for spec in desired.objects.values() for slot in slots(spec)]
    for circle in _in_order(every)[1]:
        yield next(_report_cycle(circle, desired))[1]


def _in_order(every: Sequence[Slot]) -> tuple[list[Slot], list[list[Slot]]]:
    """The selectors, each after the one that it names; and those that form cycles."""
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


def _report_cycle(circle: Sequence[Slot], desired: Desired) -> Iterator[tuple[Slot, Diagnostic]]:
    names = [str(slot.address) for slot in (*circle, circle[0])]
    steps = names if len(names) <= MOST else [*names[:MOST], "…"]
    problem = Diagnostic(
        "selector-cycle",
        "version selectors form a cycle",
        f"{' → '.join(steps)}.",
        hint="give one of them a version, or another sort of selector",
        at=min((at for slot in circle if (at := _place(slot, desired))), default=None),
    )
    yield from ((slot, problem) for slot in circle)


@dataclass(frozen=True, slots=True)
class _Aliases:
    """The versions that aliases point at. `objects`: the desired ones, with the numbers resolved so far."""

    desired: Desired
    recorded: Recorded
    live: Live
    objects: dict[Address, Spec]

    def pin(self, slot: Slot, version: int) -> None:
        self.objects[slot.address] = pin_version(self.objects[slot.address], slot.loc, version)

    def ignored_version(self, address: Address) -> int | None:
        """The live version of an alias whose `version` the manifests ignore; None for others."""
        lifecycle, observed = self.desired.lifecycles.get(address), self.live.present(address)
        ignored = lifecycle.ignore_changes if lifecycle else ()
        return _version(observed.spec) if observed and "version" in ignored else None

    def resolve(self, slot: Slot, alias: Address) -> Choice | Diagnostic:
        """The version that the alias points at after the apply."""
        observed = self.live.present(alias)
        if alias in self.objects:
            version = self.ignored_version(alias)
            return _choice(slot, version if version is not None else _version(self.objects[alias]))
        if observed is None:
            known = {a for a in (*self.objects, *self.live.objects) if a.kind == alias.kind}
            names = [str(a.key[1]) for a in known if a.key[0] == slot.model and a != slot.address]
            hint = did_you_mean(str(alias.key[1]), names[:100])
            return _nothing(slot, f"Model `{slot.model}` has no alias `{alias.key[1]}`.", hint)
        if alias in self.recorded.ours and alias not in expand_removals(self.desired, self.recorded):
            hint = f"write the version that it points at, {_version(observed.spec)}, or keep {alias} declared"
            return _nothing(slot, f"{alias} is no longer declared, and will be deleted.", hint)
        return _choice(slot, _version(observed.spec))


def _version(spec: Any) -> int:
    version: int = spec.version
    return version


def _select(slot: Slot, every: Sequence[Candidate]) -> Choice | Diagnostic:
    outcomes = [
        (c.facts, c.obstacle or why)
        for c, why in zip(every, _explain_losers(slot.selector, every), strict=True)
    ]
    fit = [facts for facts, why in outcomes if not why]
    match fit:
        case []:
            hint = "" if every else f"register one with MLflow, or declare `versions:` under `{slot.model}`"
            versions = f"has:\n{_lines(outcomes)}" if every else "has no version."
            return _nothing(slot, f"Model `{slot.model}` {versions}", hint)
        case [one]:
            return _choice(slot, one.version, [(facts.version, why) for facts, why in outcomes if why])
    selector = slot.selector
    hint = "give the number of one"
    if selector.where is not None:
        hint = "add `newest: true`, or make `where` more specific"
    return Diagnostic(
        "selector-ambiguous",
        "a version selector fits several versions",
        f"{_head(slot)} fits {len(fit)} versions of model `{slot.model}`:\n{_lines(outcomes)}",
        hint=hint,
    )


def _explain_losers(selector: VersionSelector, every: Sequence[Candidate]) -> Iterator[str]:
    """Why each candidate, newest first, isn't chosen; empty for those that fit."""
    fits = _test(selector)
    first = 0
    for candidate in every:
        why = "barred" if candidate.obstacle else fits(candidate.facts)
        if not why and (selector.latest or selector.newest):
            first = first or candidate.facts.version
            why = "" if candidate.facts.version == first else f"older than {first}"
        yield why


def _test(selector: VersionSelector) -> Callable[[Facts], str]:
    """A function that says why a version doesn't fit; empty if it does."""
    if selector.where is not None:
        condition = compile_condition(selector.where)
        return lambda facts: _unmet(condition(facts))
    if (run := selector.run_id) is not None:
        return lambda facts: "" if facts.run_id == run else f"of {_describe_run(facts)}"
    return lambda _: ""


def _unmet(answer: Answer) -> str:
    if answer.why:
        return f"`where` has no value: {shorten(answer.why, 120)}"
    return "" if answer.met else "`where` is false"


def _describe_run(facts: Facts) -> str:
    return f"run {shorten(facts.run_id, 40)}" if facts.run_id else "no run"


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


def _lines(outcomes: Sequence[tuple[Facts, str]]) -> str:
    lines = [f"{facts.version}: {why or 'fits'}{_about(facts, why)}" for facts, why in outcomes[:MOST]]
    if (left := len(outcomes) - MOST) > 0:
        lines.append(f"and {left:,} older one{'s' if left > 1 else ''}")
    return "\n".join(lines)


def _about(facts: Facts, why: str) -> str:
    run = [f"run {facts.run_id}"] if facts.run_id and not why.startswith("of run") else []
    tags = [
        f"{shorten(key, 40)}={shorten(value, 40)}" for key, value in islice(sorted(facts.tags.items()), 6)
    ]
    more = [f"{len(facts.tags) - 6} more tags"] if len(facts.tags) > 6 else []
    details = ", ".join([*run, *tags, *more])
    return f" ({details})" if details else ""


def _place(slot: Slot, desired: Desired) -> Source | None:
    return desired.selected_at.get((slot.address, slot.path)) or desired.places.get(slot.address)
