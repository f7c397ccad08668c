"""`lac diff`: the differences between two states of a stack."""

from __future__ import annotations

import os
from copy import copy
from typing import TYPE_CHECKING

import click

from ..display import json_option
from ..group import Verb
from ..options import Options
from ..output import paint, say, tell, width
from ..stacks import open_plan, open_stack

if TYPE_CHECKING:
    from ...planning.comparison import Side, States


@click.command(cls=Verb)
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", required=False)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are differences.")
@json_option
@click.pass_obj
def command(options: Options, before: str, after: str | None, detailed_exitcode: bool, as_json: bool) -> int:
    """Show the differences from A to B, by default the live state of A's environment. Changes nothing.

    A and B are each one of: an environment of lac.yaml (its manifests); `manifests`, `recorded` or `live`,
    also of another environment (`live:prod`); a FILE saved by `lac plan -o` (the state that it saw;
    `FILE:after`, the state that it makes); a time such as `2026-11-24`, by default in UTC (the records at
    that time); the id of an apply (the records after it)."""
    from ...planning.comparison import compare_states
    from ...planning.encoding import change_data
    from ...views import json
    from ...views.terminal import diff as view

    environments = open_stack(options, manifests=False).settings.environments
    first = _side(before, environments)
    sides = [first, _side(after, environments) if after else first.live()]
    # two manifests are compared as written: nothing there depends on a store
    written = all(side.what == "manifests" for side in sides)
    states = [_states(side, _environment(options, sides), written=written) for side in sides]
    # a plan knows only the objects that it changes
    plans = [plan for side, plan in zip(sides, states, strict=True) if side.what in _PLAN]
    addresses = {address for one in plans or states for address in one}
    changes = compare_states(
        *({a: spec for a, spec in one.items() if spec is not None and a in addresses} for one in states)
    )
    names = str(sides[0]), str(sides[1])
    if as_json:
        data = [change_data(change) for change in changes]
        say(json.document({"from": names[0], "to": names[1], "changes": data}))
    else:
        tell(view.difference(*names, changes, paint(options), width=width()))
    return 2 if detailed_exitcode and changes else 0


_PLAN = ("plan", "planned")


def _side(text: str, environments: frozenset[str]) -> Side:
    from ...planning.comparison import parse_side

    file = text.removesuffix(":after")
    try:
        return parse_side(text, environments, is_file=file == text and os.path.isfile(text))
    except ValueError as error:
        names = f"; environments: {', '.join(sorted(environments))}" if environments else ""
        raise click.UsageError(f"{error}{names}.") from None


def _environment(options: Options, sides: list[Side]) -> Options:
    """The options, in the environment of the first side that is a saved plan."""
    own = copy(options)
    for side in sides:
        if side.what in _PLAN and not own.environment:
            own.named_environment = open_plan(options, side.name)[1].plan.environment or None
    return own


def _states(side: Side, options: Options, *, written: bool) -> States:
    if side.what in _PLAN:
        plan = open_plan(options, side.name)[1].plan
        return {c.address: c.before if side.what == "plan" else c.after for c in plan.changes}
    own = copy(options)
    if side.name and side.what != "apply":
        own.named_environment = side.name
    stack = open_stack(own, manifests=side.what in ("manifests", "live"))
    return stack.read_state(side, written=written)
