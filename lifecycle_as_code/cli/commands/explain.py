"""`lac explain`: why an object is changed, or isn't."""

from __future__ import annotations

import click

from ..group import Verb
from ..options import Options
from ..output import paint, say, tell, width
from ..stacks import opened


@click.command(cls=Verb)
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def command(options: Options, address: str, as_json: bool) -> int:
    """Say why the plan changes an object, such as `model_alias.fraud/champion`, or doesn't: the line of the
    manifest, what was recorded, and what is live. Reads the stores and changes nothing."""
    from ...views import json
    from ...views.terminal import explanation as view

    stack = opened(options)
    found = stack.explain(stack.parse_address(address))
    if as_json:
        say(json.explained(found))
    else:
        tell(view.explained(found, paint(options), width=width()))
    return 0
