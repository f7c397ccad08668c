"""`lac show`: an object from every side, a saved plan, or the records at a time."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import click

from ..display import plan_views, show
from ..group import Verb
from ..options import Options
from ..output import note, paint, say, tell, width
from ..stacks import open_plan, open_stack, spec_classes


@click.command(cls=Verb)
@click.argument("what", required=False, metavar="[ADDRESS|FILE]")
@click.option(
    "--at", "time", metavar="TIME", help="Show the records at TIME as YAML: 2026-11-24, 2026-11-24T10:00Z."
)
@plan_views
@click.pass_obj
def command(options: Options, what: str | None, time: str | None, view: str | None) -> int:
    """Show the object at ADDRESS, such as `model_alias.fraud/champion`, as declared, recorded and live; or
    the plan in FILE, saved by `lac plan -o FILE`; or, with --at, the records at a time, by default in UTC.

    Exits with 1 if there is nothing to show."""
    as_json = view == "json"
    # os.path.isfile: False for a name that is too long for a file
    is_plan = time is None and what is not None and os.path.isfile(what)
    if view is not None and not as_json and not is_plan:
        raise click.UsageError(f"--{view} requires a FILE saved by `lac plan -o FILE`")
    if time is not None:
        return _records_at(options, what, time, as_json=as_json)
    if what is None:
        raise click.UsageError("pass an ADDRESS, a FILE, or --at TIME")
    if is_plan:
        show(open_plan(options, what)[1].plan, options, view)
        return 0
    return _object(options, what, as_json=as_json)


def _object(options: Options, address: str, *, as_json: bool) -> int:
    from ...planning.encoding import fields_data
    from ...views import json
    from ...views.terminal import show as view

    stack = open_stack(options)
    item = stack.show(stack.parse_address(address))
    sides = item.desired, item.recorded, item.live
    if as_json:
        say(json.document(fields_data(item)))
    else:
        at = stack.desired.places.get(item.address)
        tell(view.snapshots(item.address, *sides, at=at, paint=paint(options), width=width()))
    if sides == (None, None, None):
        note("There is no such object: not declared, not recorded, not live.")
        return 1
    return 0


def _records_at(options: Options, address: str | None, time: str, *, as_json: bool) -> int:
    from ...manifest.write import write
    from ...views import json

    at_ms = _milliseconds(time)
    stack = open_stack(options, manifests=False)
    specs = stack.records_at(at_ms)
    if address is not None:
        target = stack.parse_address(address)
        specs = {target: specs[target]} if target in specs else {}
    if as_json:
        objects = {str(target): spec for target, spec in specs.items()}
        say(json.document({"at_ms": at_ms, "objects": objects}))
    elif specs:
        say(write(list(specs.values()), spec_classes()).rstrip("\n"))
    if not specs:
        note("There were no records at that time.")
        return 1
    return 0


def _milliseconds(time: str) -> int:
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        raise click.UsageError(f"--at {time}: not a time such as 2026-11-24T10:00:00Z") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
