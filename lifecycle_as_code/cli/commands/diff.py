"""`lac diff`: two states of a stack, held against each other."""

from __future__ import annotations

import os
from copy import copy
from typing import TYPE_CHECKING

import click

from ..group import Verb
from ..options import Options
from ..output import paint, say, tell, width
from ..stacks import opened

if TYPE_CHECKING:
    from ...planning.comparison import Side, States


@click.command(cls=Verb)
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", required=False)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there is a difference.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def command(options: Options, before: str, after: str | None, detailed_exitcode: bool, as_json: bool) -> int:
    """Show what differs from A to B (by default what is live in A's environment). Reads and changes nothing.

    Each is an environment of lac.yaml (what its manifests say), `manifests`, `recorded` or `live`, also of
    another environment (`live:prod`), a FILE that `lac plan -o` wrote (what it saw; `FILE:after`, what it
    makes), a time (`2026-11-24`, UTC unless it says otherwise: what was recorded then), or the id of an
    apply (what was recorded after it).
    """
    from ...planning.comparison import compared
    from ...views import json
    from ...views.terminal import diff as view

    known = opened(options, manifests=False).settings.environments
    first = _side(before, known)
    sides = [first, _side(after, known) if after else first.live()]
    # as it is written says more, where nothing is compared with what a store holds
    written = all(side.what == "manifests" for side in sides)
    held = [_states(side, _environment(options, sides), written=written) for side in sides]
    about = {a for side, states in zip(sides, held, strict=True) if side.what in _IN_PART for a in states}
    if any(side.what in _IN_PART for side in sides):
        held = [{a: spec for a, spec in states.items() if a in about} for states in held]
    changes = compared(_there(held[0]), _there(held[1]))
    names = str(sides[0]), str(sides[1])
    if as_json:
        say(json.difference(*names, changes))
    else:
        tell(view.difference(*names, changes, paint(options), width=width()))
    return 2 if detailed_exitcode and changes else 0


_IN_PART = ("plan", "planned")


def _there(states: States) -> States:
    return {address: spec for address, spec in states.items() if spec is not None}


def _side(text: str, environments: frozenset[str]) -> Side:
    from ...planning.comparison import side

    file = text.removesuffix(":after")
    try:
        return side(text, environments, is_file=file == text and os.path.isfile(text))
    except ValueError as error:
        known = f"; environments: {', '.join(sorted(environments))}" if environments else ""
        raise click.UsageError(f"{error}{known}.") from None


def _environment(options: Options, sides: list[Side]) -> Options:
    """The options, in the environment of the plan that one of the sides is: what it is compared with is
    there."""
    from ..plan_files import from_file

    chosen = copy(options)
    for side in sides:
        if side.what in _IN_PART and not chosen.environment:
            chosen.named_environment = from_file(options, side.name)[1].plan.environment or None
    return chosen


def _states(side: Side, options: Options, *, written: bool) -> States:
    from ..plan_files import from_file

    if side.what in _IN_PART:
        _, saved = from_file(options, side.name)
        return {c.address: c.before if side.what == "plan" else c.after for c in saved.plan.changes}
    chosen = copy(options)
    if side.name and side.what != "apply":
        chosen.named_environment = side.name
    stack = opened(chosen, manifests=side.what in ("manifests", "live"))
    return stack.states(side, written=written)
