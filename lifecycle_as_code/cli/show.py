"""`lac show`: one object from every side."""

from __future__ import annotations

import click

from .group import Verb
from .options import Options
from .output import note, paint, say, width
from .stacks import opened


@click.command(cls=Verb)
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def command(options: Options, address: str, as_json: bool) -> int:
    """Show one object, such as `model_alias.fraud/champion`, as declared, recorded and live.

    Exits with 1 when it is nowhere.
    """
    from ..views import json
    from ..views import show as view

    stack = opened(options)
    found = stack.show(stack.parse_address(address))
    if as_json:
        say(json.shown(found.address, found.desired, found.recorded, found.live))
    else:
        at = stack.desired.places.get(found.address)
        sides = found.desired, found.recorded, found.live
        say(view.shown(found.address, *sides, at=at, paint=paint(options), width=width()))
    if found.desired is None and found.recorded is None and found.live is None:
        note("It is nowhere: not declared, not recorded, not live.")
        return 1
    return 0
