"""Who did what to which object, and when: applies, their lines, and queries over them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .spec import Address, Spec


@dataclass(frozen=True, slots=True)
class Actor:
    """Who ran a command: the user, the machine, the user in CI, and the commit. What is unknown is empty.
    `run`: the URL of the CI job. `dirty`: the manifests had uncommitted changes."""

    user: str = ""
    host: str = ""
    ci: str = ""
    run: str = ""
    commit: str = ""
    remote: str = ""
    dirty: bool = False

    def __str__(self) -> str:
        name = self.ci or self.user or "somebody"
        return f"{name}@{self.host}" if self.host and not self.ci else name

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Actor:
        """Read from stored data, which an older or a newer lac may have written."""
        known = {name: data[name] for name in asdict(cls()) if name in data}
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Line:
    """One object's part of an apply, as committed. `after`: what was recorded. `stack`: the object's owner
    then."""

    apply_id: str
    number: int
    stack: str
    address: Address
    action: str
    reason: str
    before: Spec | None
    after: Spec | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Apply:
    """One run of a command that writes. Times in ms since 1970 by the database's clock. `ended_ms` None: in
    progress, or killed. `outcome`: complete, partial, stopped, failed, refused, unlocked."""

    apply_id: str
    stack: str
    environment: str
    command: str
    started_ms: int
    ended_ms: int | None
    outcome: str
    actor: Actor
    plan_digest: str = ""
    lines: tuple[Line, ...] = ()


def find_state(lines: Iterable[Line], moment_ms: int) -> dict[Address, Spec]:
    """What was recorded at that moment: the last line about each object until then."""
    objects: dict[Address, Spec] = {}
    for line in in_order(lines):
        if line.at_ms > moment_ms:
            break
        if line.after is None:
            objects.pop(line.address, None)
        else:
            objects[line.address] = line.after
    return objects


def find_lines(applies: Sequence[Apply], address: Address) -> list[tuple[Apply, Line]]:
    """The lines about one object, latest first."""
    return [
        (apply, line)
        for apply in sorted(applies, key=lambda a: (a.started_ms, a.apply_id), reverse=True)
        for line in reversed(apply.lines)
        if line.address == address
    ]


def in_order(lines: Iterable[Line]) -> list[Line]:
    """The lines, earliest first."""
    return sorted(lines, key=_when)


def describe_move(address: Address) -> str:
    """The reason in the last line under a former name."""
    return f"moved to {address.kind}.{address.name}"


def join_names(
    lines_by_address: Mapping[Address, Iterable[Line]],
    last_lines: Mapping[tuple[str, str], Line],
    address: Address,
    until: Line | None = None,
) -> list[Line]:
    """The lines about an object, earliest first, those under its former names rewritten to its present one.
    `last_lines`: the last line under each former name, by apply and reason."""
    lines = [
        line
        for line in in_order(lines_by_address.get(address, ()))
        if until is None or _when(line) < _when(until)
    ]
    moves = (last_lines.get((line.apply_id, describe_move(address))) for line in reversed(lines))
    if (former := next(filter(None, moves), None)) is None:
        return lines

    def rename(spec: Spec | None) -> Spec | None:
        return spec and spec.renamed(former.address, address)

    earlier = join_names(lines_by_address, last_lines, former.address, former)
    return [
        *(
            replace(line, address=address, before=rename(line.before), after=rename(line.after))
            for line in earlier
        ),
        *(line for line in lines if _when(line) > _when(former)),
    ]


def since(lines: Iterable[Line], spec: Spec) -> int | None:
    """Since when an object has equalled `spec` without a break, in ms since 1970; None if its last line
    records something else. `lines`: of any stack, about this object alone. Forgetting or taking over an
    unchanged object is no break; a reverted change outside lac is one only where a line records the
    reversal."""
    start: int | None = None
    for line in reversed(in_order(lines)):
        if line.after is None and line.action == "forget" and line.before == spec:
            continue
        if line.after != spec:
            break
        start = line.at_ms
        if line.action == "create" or line.before not in (None, spec):
            break
    return start


def _when(line: Line) -> tuple[int, str, int]:
    return line.at_ms, line.apply_id, line.number
