"""The state that undoes an apply, or the last change of one object. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ..model.diagnostics import Diagnostic, LacError, refuse
from ..model.diff import without_health
from ..model.history import Apply, Line, find_lines
from ..model.plan import Action
from ..model.spec import Address, Spec

SHORTEST: Final = 6
"""The least number of characters of an apply's ID."""

_REVERSIBLE: Final = frozenset({str(Action.CREATE), str(Action.UPDATE), str(Action.DELETE)})


@dataclass(frozen=True, slots=True)
class Target:
    """The state to go back to: each object, or None if it didn't exist. `because`: the changes' reason."""

    objects: Mapping[Address, Spec | None]
    because: str


def find_rollback(what: str, applies: Sequence[Apply], parse: Callable[[str], Address]) -> Target:
    """The state before `what`: an address (its last change), or an apply by its ID or a prefix of it.
    LacError if there is none, if it changed nothing that can be undone, or if a later apply changed its
    objects again."""
    if "." in what:
        return _of_object(parse(what), applies)
    return _of_apply(find_apply(what, applies), applies)


def _of_object(address: Address, applies: Sequence[Apply]) -> Target:
    every = find_lines(applies, address)
    lines = [(apply, line) for apply, line in every if line.action in _REVERSIBLE]
    # a rename has a line under the former name as well
    renamed_away = bool(every) and every[0][1].action == Action.MOVE and every[0][1].after is None
    if renamed_away or not lines:
        has_moves = any(line.action == Action.MOVE for _, line in every)
        _refuse_rollback(f"No apply of this stack changed {address}.", _MOVE if has_moves else "")
    apply, line = lines[0]
    return Target({address: _before(line)}, f"as before apply {apply.apply_id[:8]}")


def _of_apply(apply: Apply, applies: Sequence[Apply]) -> Target:
    firsts: dict[Address, Line] = {}
    for line in apply.lines:
        if line.action in _REVERSIBLE:
            firsts.setdefault(line.address, line)
    if any(line.action == Action.MOVE for line in apply.lines):
        _refuse_rollback(f"Apply {apply.apply_id[:8]} renamed something.", _MOVE)
    if not firsts:
        _refuse_rollback(f"Apply {apply.apply_id[:8]} changed no object.")
    refuse(_check_later_applies(apply, firsts, applies))
    return Target({a: _before(line) for a, line in firsts.items()}, f"as before apply {apply.apply_id[:8]}")


_MOVE: Final = "to undo a rename, write a `moved:` block in the opposite direction"


def _before(line: Line) -> Spec | None:
    return None if line.before is None else without_health(line.before)


def find_apply(prefix: str, applies: Sequence[Apply]) -> Apply:
    """The apply with this ID or prefix. LacError if there is none, or several."""
    matches = (
        [apply for apply in applies if apply.apply_id.startswith(prefix)] if len(prefix) >= SHORTEST else []
    )
    if len(matches) == 1:
        return matches[0]
    why = "matches several applies" if matches else "matches no apply of this stack"
    raise LacError(
        Diagnostic(
            "no-such-apply",
            "there is no such apply",
            f"`{prefix}` {why}.",
            hint=f"`lac history` lists them; give at least {SHORTEST} characters of an ID, or an address",
        )
    )


def _check_later_applies(
    apply: Apply, firsts: Mapping[Address, Line], applies: Sequence[Apply]
) -> Iterator[Diagnostic]:
    """Objects that a later apply changed again: a rollback would undo that change as well."""
    moment = apply.started_ms, apply.apply_id
    for address in firsts:
        later = [
            other
            for other, line in find_lines(applies, address)
            if line.action in {*_REVERSIBLE, Action.MOVE} and (other.started_ms, other.apply_id) > moment
        ]
        if later:
            yield Diagnostic(
                "changed-since",
                "a later apply changed the object again",
                f"{address}: by apply {', '.join(other.apply_id[:8] for other in reversed(later))}.",
                hint=f"roll back that apply first, or this object alone: `lac rollback {address.shell_word}`",
            )


def _refuse_rollback(detail: str, hint: str = "") -> NoReturn:
    raise LacError(Diagnostic("nothing-to-roll-back", "there is nothing to roll back", detail, hint=hint))
