"""What has to be wanted again to undo an apply, or the last change of one object. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..model.diagnostics import Diagnostic, LacError, refuse
from ..model.diff import without_health
from ..model.history import Apply, Line, of_address
from ..model.plan import Action
from ..model.spec import Address, Spec

SHORTEST: Final = 6
"""How much of an apply's id has to be given."""

_REVERSIBLE: Final = frozenset({str(Action.CREATE), str(Action.UPDATE), str(Action.DELETE)})


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted of each object: what it was, or None where it wasn't there. `because`: of what."""

    wanted: Mapping[Address, Spec | None]
    because: str


def undone(what: str, applies: Sequence[Apply], parse: Callable[[str], Address]) -> Target:
    """`what`: an address, or the id of an apply or its beginning. LacError where there is no such apply,
    where it did nothing that could be undone, or where one of its objects was changed again since."""
    if "." in what:
        return _of_object(parse(what), applies)
    return _of_apply(apply_of(what, applies), applies)


def _of_object(address: Address, applies: Sequence[Apply]) -> Target:
    every = of_address(applies, address)
    lines = [(apply, line) for apply, line in every if line.action in _REVERSIBLE]
    # a rename has its line under the former name, too
    renamed_away = bool(every) and every[0][1].action == Action.MOVE and every[0][1].after is None
    if renamed_away or not lines:
        has_moves = any(line.action == Action.MOVE for _, line in every)
        raise LacError(
            _refuse_rollback(f"No apply of this stack changed {address}.", _MOVE if has_moves else "")
        )
    apply, line = lines[0]
    return Target({address: _before(line)}, f"as before apply {apply.apply_id[:8]}")


def _of_apply(apply: Apply, applies: Sequence[Apply]) -> Target:
    firsts: dict[Address, Line] = {}
    for line in apply.lines:
        if line.action in _REVERSIBLE:
            firsts.setdefault(line.address, line)
    if any(line.action == Action.MOVE for line in apply.lines):
        raise LacError(_refuse_rollback(f"Apply {apply.apply_id[:8]} renamed something.", _MOVE))
    if not firsts:
        raise LacError(_refuse_rollback(f"Apply {apply.apply_id[:8]} changed no object.", ""))
    refuse(_check_later_applies(apply, firsts, applies))
    return Target({a: _before(line) for a, line in firsts.items()}, f"as before apply {apply.apply_id[:8]}")


_MOVE: Final = "a rename goes back by a `moved:` block the other way round"


def _before(line: Line) -> Spec | None:
    return None if line.before is None else without_health(line.before)


def apply_of(prefix: str, applies: Sequence[Apply]) -> Apply:
    """The apply with this id, or the beginning of it. LacError where there is none, or several."""
    matches = (
        [apply for apply in applies if apply.apply_id.startswith(prefix)] if len(prefix) >= SHORTEST else []
    )
    if len(matches) == 1:
        return matches[0]
    why = "is the beginning of several" if matches else "is none of this stack's"
    raise LacError(
        Diagnostic(
            "no-such-apply",
            "there is no such apply",
            f"`{prefix}` {why}.",
            hint=f"`lac history` lists them; {SHORTEST} characters of an id at least, or an object's address",
        )
    )


def _check_later_applies(
    apply: Apply, firsts: Mapping[Address, Line], applies: Sequence[Apply]
) -> Iterator[Diagnostic]:
    """Objects that a later apply changed again: to go back behind it would undo that one, too."""
    for address in firsts:
        later = [
            other
            for other, line in of_address(applies, address)
            if line.action in {*_REVERSIBLE, Action.MOVE} and _after(other, apply)
        ]
        if later:
            yield Diagnostic(
                "changed-since",
                "a later apply changed the object again",
                f"{address}: by apply {', '.join(other.apply_id[:8] for other in reversed(later))}.",
                hint=f"roll that one back first, or the object alone: `lac rollback {address.quoted}`",
            )


def _after(other: Apply, apply: Apply) -> bool:
    return (other.started_ms, other.apply_id) > (apply.started_ms, apply.apply_id)


def _refuse_rollback(detail: str, hint: str) -> Diagnostic:
    return Diagnostic("nothing-to-roll-back", "there is nothing to roll back", detail, hint=hint)
