"""The built-in rules: what everybody asks of a change, without an expression. Pure.

A rule takes a `Case` and its setting and gives what isn't met, as sentences; nothing where all is well. Rules
about versions are asked for each version that the change puts in a place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ...model.evidence import Comparison, Evidence
from ...model.history import Actor
from ...model.plan import Change
from ...model.policy import Team
from ...model.redaction import secrets_in
from ...model.signature import SignatureClass
from ...model.spec import Address, KeyPart, Spec, Trait
from .facts import fields_of, hours_held, name_of
from .matching import matches


@dataclass(frozen=True, slots=True)
class Case:
    """What one policy looks at: a change, and for each version that it puts in a place how that compares.

    `lenient`: what can't be told is let pass.
    """

    change: Change
    comparisons: tuple[Comparison, ...]
    actor: Actor
    now: datetime
    teams: tuple[Team, ...] = ()
    lenient: bool = False

    @property
    def unseen(self) -> tuple[Address, ...]:
        """Versions that the change newly names, and about which nothing is known at all."""
        # the number of a version that the change makes: evidence may not have it yet
        own = {self.change.address.key[-1]} if _is_version(self.change) else set[KeyPart]()
        seen = {
            (it.model, number)
            for it in self.comparisons
            if it.after is not None
            for number in {it.after.version, *own}
        }
        newly = _versions(self.change.after) - _versions(self.change.before)
        return tuple(sorted((version for version in newly if version.key not in seen), key=str))


@dataclass(frozen=True, slots=True)
class Promotion:
    """One version that takes a place, and what is asked of it. `lenient`: what can't be told passes."""

    it: Comparison
    after: Evidence
    setting: Any
    now: datetime
    lenient: bool

    @property
    def stays(self) -> bool:
        """Whether the same version was there before: nothing is promoted."""
        before = self.it.before
        return before is not None and before.version == self.after.version != 0

    def __str__(self) -> str:
        entity = f"served entity `{self.it.entity}`, " if self.it.entity else ""
        return entity + (
            f"{self.it.model} version {self.after.version}" if self.after.version else "the version"
        )


Rule = Callable[[Case, Any], Iterator[str]]


def _versions(spec: Spec | None) -> set[Address]:
    versions = spec.stands_for().values() if spec else ()
    return {version for version in versions if version is not None}


def _is_version(change: Change) -> bool:
    return change.side is not None and change.side.trait is Trait.VERSION


def _promotes_from(asked: Promotion) -> Iterator[str]:
    if asked.stays:
        return
    wanted = asked.setting if isinstance(asked.setting, list | tuple) else [asked.setting]
    after = asked.after
    if not {*wanted} & {*after.aliases}:
        named = " or ".join(f"`{alias}`" for alias in wanted)
        holds = ", ".join(f"`{alias}`" for alias in after.aliases) or "no alias"
        yield f"{asked} isn't promoted from {named}: it holds {holds}"


def _soak(asked: Promotion) -> Iterator[str]:
    if asked.stays:
        return
    alias, hours = str(asked.setting["alias"]), float(asked.setting["hours"])
    held = hours_held(asked.after, alias, asked.now)
    if held is None:
        yield f"{asked} doesn't hold `{alias}`, or nothing tells since when"
    elif held < hours:
        since = datetime.fromtimestamp(asked.after.since_ms[alias] / 1000, UTC)
        yield (
            f"{asked} has held `{alias}` for {_floored(held)} of {hours:g} hours, "
            f"since {since:%Y-%m-%d %H:%M} UTC"
        )


def _signature(asked: Promotion) -> Iterator[str]:
    admitted = {SignatureClass.SAME, SignatureClass.NONE}
    if asked.setting == "compatible":
        admitted.add(SignatureClass.COMPATIBLE)
    if asked.lenient:
        admitted.add(SignatureClass.UNKNOWN)
    found = asked.it.signature
    if found.verdict in admitted:
        return
    told = found.breaking if found.verdict is SignatureClass.BREAKING else found.findings
    if found.verdict is SignatureClass.UNKNOWN:
        told = ("a side has none, or it can't be read",)
    because = f": {'; '.join(told)}" if told else ""
    yield f"the signature of {asked} is {found.verdict}{because}"


def _artifact(asked: Promotion) -> Iterator[str]:
    if asked.after.artifact is False:
        yield f"the artifact of {asked} is missing"
    elif asked.after.artifact is None and not asked.lenient:
        yield f"it can't be told whether the artifact of {asked} is there"


def _run(asked: Promotion) -> Iterator[str]:
    run, wanted = asked.after.run, asked.setting
    if run is None:
        yield f"{asked} has no run that is known"
    elif run.deleted:
        yield f"the run of {asked} is deleted"
    elif not matches(run.status, wanted):
        named = " or ".join(map(str, wanted)) if isinstance(wanted, list | tuple) else wanted
        yield f"the run of {asked} is {run.status or 'in no known state'}, not {named}"


def _only(case: Case, setting: Any) -> Iterator[str]:
    actions = setting.get("actions")
    if actions and not matches(str(case.change.action), actions):
        return
    teams = {team.name: team.actors for team in case.teams}
    named = [*setting.get("actors", ())]
    for team in setting.get("teams", ()):
        named += teams.get(team, ())
    name = name_of(case.actor)
    if name and matches(name, named):
        return
    who = [*map(str, setting.get("actors", ())), *(f"team {team}" for team in setting.get("teams", ()))]
    yield f"{name or 'somebody unknown'} is none of those who may: {', '.join(who)}"


def _required_tags(case: Case, wanted: Any) -> Iterator[str]:
    change = case.change
    if change.after is None:
        return
    # the object's own where it has some, otherwise those of the version that it names
    own = getattr(change.after, "tags", None)
    held: list[tuple[str, Mapping[str, str]]] = []
    if own is None or _is_version(change):
        held = [
            (f"{it.model} version {it.after.version}", it.after.tags) for it in case.comparisons if it.after
        ]
    if own is not None:
        among = {**(held[0][1] if held else {}), **own}
        held = [(str(change.address), among)]
    if not held:
        yield f"{change.address} has no tags"
    for whose, tags in held:
        if lacks := [f"`{tag}`" for tag in wanted if not str(tags.get(tag, "")).strip()]:
            yield f"{whose} lacks the tag{'s' if len(lacks) > 1 else ''} {', '.join(lacks)}"


def _no_plain_secret(case: Case, wanted: Any) -> Iterator[str]:
    if not wanted or case.change.after is None:
        return
    for path, why in secrets_in(fields_of(case.change.after)):
        yield f"`{path}` holds what looks like a secret in plain text: {why}"


def _each_version(rule: Callable[[Promotion], Iterator[str]]) -> Rule:
    def asked(case: Case, setting: Any) -> Iterator[str]:
        for it in case.comparisons:
            if it.after is not None:
                yield from rule(Promotion(it, it.after, setting, case.now, case.lenient))
        for address in case.unseen:
            yield f"nothing is known about {address}"

    return asked


BUILTIN: Final[Mapping[str, Rule]] = {
    "promotes_from": _each_version(_promotes_from),
    "soak": _each_version(_soak),
    "signature": _each_version(_signature),
    "artifact": _each_version(_artifact),
    "run": _each_version(_run),
    "only": _only,
    "required_tags": _required_tags,
    "no_plain_secret": _no_plain_secret,
}
"""By the key that switches it on."""


def _floored(hours: float) -> str:
    """To a tenth of an hour, never up: 23.99 of 24 isn't 24."""
    return f"{int(hours * 10) / 10:g}"
