"""The built-in rules: what most teams require of a change, without an expression. Pure. A rule takes a `Case`
and its setting and yields each unmet requirement as a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ...model.evidence import Comparison, Evidence
from ...model.history import Actor
from ...model.pattern import matches
from ...model.plan import Change
from ...model.policy import Team
from ...model.redaction import secrets_in
from ...model.signature import SignatureClass
from ...model.spec import Address, KeyPart, Spec, Trait
from .facts import fields_of, hours_held, name_of


@dataclass(frozen=True, slots=True)
class Case:
    """A change under one policy. `lenient`: unknown signatures and artifacts pass."""

    change: Change
    comparisons: tuple[Comparison, ...]
    actor: Actor
    now: datetime
    teams: tuple[Team, ...] = ()
    lenient: bool = False

    @property
    def unknown_versions(self) -> tuple[Address, ...]:
        """Versions that the change adds and for which there is no evidence."""
        # the number of the version that the change creates: evidence may not have it yet
        own = {self.change.address.key[-1]} if _is_version(self.change) else set[KeyPart]()
        known = {
            (it.model, number)
            for it in self.comparisons
            if it.after is not None
            for number in {it.after.version, *own}
        }
        added = _versions(self.change.after) - _versions(self.change.before)
        return tuple(sorted((version for version in added if version.key not in known), key=str))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that the change promotes, and a rule's setting for it. `lenient` as in `Case`."""

    it: Comparison
    after: Evidence
    setting: Any
    now: datetime
    lenient: bool

    @property
    def is_unchanged(self) -> bool:
        """Whether the same version was there before: the change promotes nothing."""
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


def _promotes_from(candidate: Candidate) -> Iterator[str]:
    if candidate.is_unchanged:
        return
    sources = _as_list(candidate.setting)
    aliases = candidate.after.aliases
    if not {*sources} & {*aliases}:
        names = " or ".join(f"`{alias}`" for alias in sources)
        actual = ", ".join(f"`{alias}`" for alias in aliases) or "no alias"
        yield f"{candidate} doesn't hold {names}; it holds {actual}"


def _soak(candidate: Candidate) -> Iterator[str]:
    if candidate.is_unchanged:
        return
    alias, hours = str(candidate.setting["alias"]), float(candidate.setting["hours"])
    duration = hours_held(candidate.after, alias, candidate.now)
    if duration is None:
        yield f"{candidate} doesn't hold `{alias}`, or has held it for an unknown time"
    elif duration < hours:
        since = datetime.fromtimestamp(candidate.after.since_ms[alias] / 1000, UTC)
        yield (
            f"{candidate} has held `{alias}` for {_round_down(duration)} of {hours:g} hours, "
            f"since {since:%Y-%m-%d %H:%M} UTC"
        )


def _signature(candidate: Candidate) -> Iterator[str]:
    accepted = {SignatureClass.SAME, SignatureClass.NONE}
    if candidate.setting == "compatible":
        accepted.add(SignatureClass.COMPATIBLE)
    if candidate.lenient:
        accepted.add(SignatureClass.UNKNOWN)
    signature = candidate.it.signature
    if signature.verdict in accepted:
        return
    findings = signature.breaking if signature.verdict is SignatureClass.BREAKING else signature.findings
    if signature.verdict is SignatureClass.UNKNOWN:
        findings = ("a signature is missing or can't be read",)
    reason = f": {'; '.join(findings)}" if findings else ""
    yield f"the signature of {candidate} is {signature.verdict}{reason}"


def _artifact(candidate: Candidate) -> Iterator[str]:
    if candidate.after.artifact is False:
        yield f"the artifact of {candidate} is missing"
    elif candidate.after.artifact is None and not candidate.lenient:
        yield f"it is unknown whether the artifact of {candidate} exists"


def _run(candidate: Candidate) -> Iterator[str]:
    run, states = candidate.after.run, candidate.setting
    if run is None:
        yield f"the run of {candidate} is unknown"
    elif run.deleted:
        yield f"the run of {candidate} is deleted"
    elif not matches(run.status, states):
        names = " or ".join(map(str, _as_list(states)))
        yield f"the run of {candidate} is {run.status or 'in an unknown state'}, not {names}"


def _only(case: Case, setting: Any) -> Iterator[str]:
    actions = setting.get("actions")
    if actions and not matches(str(case.change.action), actions):
        return
    teams = {team.name: team.actors for team in case.teams}
    allowed = [*setting.get("actors", ())]
    for team in setting.get("teams", ()):
        allowed += teams.get(team, ())
    name = name_of(case.actor)
    if name and matches(name, allowed):
        return
    groups = [*map(str, setting.get("actors", ())), *(f"team {team}" for team in setting.get("teams", ()))]
    yield f"{name or 'an unknown user'} may not make this change; allowed: {', '.join(groups)}"


def _required_tags(case: Case, names: Any) -> Iterator[str]:
    change = case.change
    if change.after is None:
        return
    # the object's own tags if it has any, otherwise those of the version that it names
    own = getattr(change.after, "tags", None)
    sources: list[tuple[str, Mapping[str, str]]] = []
    if own is None or _is_version(change):
        sources = [
            (f"{it.model} version {it.after.version}", it.after.tags) for it in case.comparisons if it.after
        ]
    if own is not None:
        merged = {**(sources[0][1] if sources else {}), **own}
        sources = [(str(change.address), merged)]
    if not sources:
        yield f"{change.address} has no tags"
    for owner, tags in sources:
        if lacks := [f"`{tag}`" for tag in names if not str(tags.get(tag, "")).strip()]:
            yield f"{owner} lacks the tag{'s' if len(lacks) > 1 else ''} {', '.join(lacks)}"


def _no_plain_secret(case: Case, is_required: Any) -> Iterator[str]:
    if not is_required or case.change.after is None:
        return
    for path, why in secrets_in(fields_of(case.change.after)):
        yield f"`{path}` appears to hold a secret in plain text: {why}"


def _each_version(rule: Callable[[Candidate], Iterator[str]]) -> Rule:
    def check(case: Case, setting: Any) -> Iterator[str]:
        for it in case.comparisons:
            if it.after is not None:
                yield from rule(Candidate(it, it.after, setting, case.now, case.lenient))
        for address in case.unknown_versions:
            yield f"there is no evidence about {address}"

    return check


RULES: Final[Mapping[str, Rule]] = {
    "promotes_from": _each_version(_promotes_from),
    "soak": _each_version(_soak),
    "signature": _each_version(_signature),
    "artifact": _each_version(_artifact),
    "run": _each_version(_run),
    "only": _only,
    "required_tags": _required_tags,
    "no_plain_secret": _no_plain_secret,
}
"""By the field that switches it on: `model.policy.BUILTIN`."""


def _as_list(value: Any) -> list[Any]:
    return [*value] if isinstance(value, list | tuple) else [value]


def _round_down(hours: float) -> str:
    """To a tenth of an hour: 23.99 of 24 isn't 24."""
    return f"{int(hours * 10) / 10:g}"
