"""What each process of a race does, once all are let go at once. Called from `forks`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lifecycle_as_code.engine.apply import run
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.history import Actor
from support.failpoints import Place, Written, bench_at, read

PATIENCE = 60.0
"""Seconds to wait for the lock."""
TRIES = 5
AGAIN = frozenset({"write-conflict", "store-locked"})
"""Another writer was faster: whoever calls may try the same again."""


@dataclass(frozen=True, slots=True)
class Finish:
    """How a racer ended: `complete`, or the code of what refused it in the end. `retries`: further tries."""

    outcome: str
    retries: int = 0


def carries_out(place: Place, saved: bytes, gate: Callable[[], None]) -> Finish:
    """As `lac apply FILE`, once."""
    run.actor = lambda *_: Actor(user="racer")
    stack = bench_at(place).stack()
    gate()
    try:
        plan = stack.check_plan(stack.read_plan(saved))
        list(stack.apply(plan, lock_timeout=PATIENCE))
    except LacError as error:
        return Finish(error.diagnostics[0].code)
    return Finish("complete")


def plans_and_applies(
    place: Place, name: str, specs: Written, again: frozenset[str], gate: Callable[[], None]
) -> Finish:
    """As `lac apply`, and once more where it was refused for a reason of `again`."""
    run.actor = lambda *_: Actor(user="racer")
    stack = bench_at(place).stack(read(specs), name=name)
    gate()
    code = ""
    for retries in range(TRIES + 1):
        try:
            list(stack.apply(stack.plan(), lock_timeout=PATIENCE))
            return Finish("complete", retries)
        except LacError as error:
            code = error.diagnostics[0].code
            if code not in again:
                break
    return Finish(code, retries)
