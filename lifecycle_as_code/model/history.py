"""Who did what to which object, and when: the words of history, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .spec import Address, Spec


@dataclass(frozen=True, slots=True)
class Actor:
    """Who ran a command: on which machine, for whom in CI, and from which commit. What isn't known is empty.

    `run`: the address of the CI job. `commit` and `remote` are git's; a remote's password is never kept.
    `dirty`: the manifests had changes that weren't committed.
    """

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
        """From stored data, of an older or a newer lac too."""
        known = {name: data[name] for name in asdict(cls()) if name in data}
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Line:
    """One object's part of an apply, as it was committed. `after` is what was recorded.

    `stack`: whose object it is, for another stack may take it over.
    """

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
    """One run of a command that writes. Times in ms since 1970 by the database's clock.

    `ended_ms` None: it is at work, or it was killed. `outcome`: complete, partial, stopped, failed, refused,
    unlocked.
    """

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


def at(lines: Iterable[Line], moment_ms: int) -> dict[Address, Spec]:
    """What was recorded at that moment: the last word on each object until then."""
    objects: dict[Address, Spec] = {}
    for line in in_order(lines):
        if line.at_ms > moment_ms:
            break
        if line.after is None:
            objects.pop(line.address, None)
        else:
            objects[line.address] = line.after
    return objects


def of_address(applies: Sequence[Apply], address: Address) -> list[tuple[Apply, Line]]:
    """What happened to one object, the latest first."""
    return [
        (apply, line)
        for apply in sorted(applies, key=lambda a: (a.started_ms, a.apply_id), reverse=True)
        for line in reversed(apply.lines)
        if line.address == address
    ]


def in_order(lines: Iterable[Line]) -> list[Line]:
    """The first one first."""
    return sorted(lines, key=_when)


def moved_to(address: Address) -> str:
    """The reason of the last line under a former name."""
    return f"moved to {address.kind}.{address.name}"


def under_one_name(
    lines_by_address: Mapping[Address, Iterable[Line]],
    last_lines: Mapping[tuple[str, str], Line],
    address: Address,
    until: Line | None = None,
) -> list[Line]:
    """The lines about an object, the first one first, and those of its former names under the one that it
    has. `left`: the last line under each former name, by its apply and reason."""
    lines = [
        line
        for line in in_order(lines_by_address.get(address, ()))
        if until is None or _when(line) < _when(until)
    ]
    moves = (last_lines.get((line.apply_id, moved_to(address))) for line in reversed(lines))
    if (former := next(filter(None, moves), None)) is None:
        return lines

    def rename(spec: Spec | None) -> Spec | None:
        return spec and spec.renamed(former.address, address)

    earlier = under_one_name(lines_by_address, last_lines, former.address, former)
    return [
        *(
            replace(line, address=address, before=rename(line.before), after=rename(line.after))
            for line in earlier
        ),
        *(line for line in lines if _when(line) > _when(former)),
    ]


def since(lines: Iterable[Line], spec: Spec) -> int | None:
    """Since when an object has been as `spec` without a break, by what was recorded of it: lines of any stack
    about this object alone, in ms since 1970. None where the last word on it is another one.

    That a stack forgets or takes over what stays as it is, is no break. What happened between two lines and
    was put back isn't known, but where the later one says that it put it back.
    """
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
