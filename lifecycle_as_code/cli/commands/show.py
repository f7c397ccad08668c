"""`lac show`: one object from every side, a saved plan, or what was recorded at a time."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import click

from ..display import plan_views, show
from ..group import Verb
from ..options import Options
from ..output import note, paint, say, tell, width
from ..stacks import opened


@click.command(cls=Verb)
@click.argument("what", required=False, metavar="[ADDRESS|FILE]")
@click.option(
    "--at", "moment", metavar="TIME", help="What was recorded then, as YAML: 2026-11-24, 2026-11-24T10:00Z."
)
@plan_views
@click.pass_obj
def command(options: Options, what: str | None, moment: str | None, view: str | None) -> int:
    """Show one object, such as `model_alias.fraud/champion`, as declared, recorded and live; or a plan that
    `lac plan -o FILE` saved; or, with --at, all that was recorded at that time (UTC, unless it says
    otherwise).

    Exits with 1 when there is nothing to show.
    """
    as_json = view == "json"
    # asked so, a name that is too long for a file is none
    saved_plan = moment is None and what is not None and os.path.isfile(what)
    if view is not None and not as_json and not saved_plan:
        raise click.UsageError(f"--{view} shows a plan: name a FILE that `lac plan -o FILE` saved")
    if moment is not None:
        return _at(options, what, moment, as_json=as_json)
    if what is None:
        raise click.UsageError("name an ADDRESS or a FILE, or say --at")
    if saved_plan:
        from ..plan_files import from_file

        _, saved = from_file(options, what)
        show(saved.plan, options, view)
        return 0
    return _object(options, what, as_json=as_json)


def _object(options: Options, address: str, *, as_json: bool) -> int:
    from ...views import json
    from ...views.terminal import show as view

    stack = opened(options)
    found = stack.show(stack.parse_address(address))
    if as_json:
        say(json.shown(found.address, found.desired, found.recorded, found.live))
    else:
        at = stack.desired.places.get(found.address)
        sides = found.desired, found.recorded, found.live
        tell(view.shown(found.address, *sides, at=at, paint=paint(options), width=width()))
    if found.desired is None and found.recorded is None and found.live is None:
        note("It is nowhere: not declared, not recorded, not live.")
        return 1
    return 0


def _at(options: Options, address: str | None, moment: str, *, as_json: bool) -> int:
    from ...manifest.write import write
    from ...views import json
    from ..stacks import spec_classes

    at_ms = _milliseconds(moment)
    stack = opened(options, manifests=False)
    held = stack.at(at_ms)
    if address is not None:
        wanted = stack.parse_address(address)
        held = {wanted: held[wanted]} if wanted in held else {}
    if as_json:
        say(json.recorded_at(at_ms, held))
    elif held:
        say(write(list(held.values()), spec_classes()).rstrip("\n"))
    if not held:
        note("Nothing was recorded at that time.")
        return 1
    return 0


def _milliseconds(moment: str) -> int:
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        raise click.UsageError(f"--at {moment}: not a time such as 2026-11-24T10:00:00Z") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
