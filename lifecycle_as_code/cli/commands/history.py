"""`lac history`: the applies of a stack."""

from __future__ import annotations

import click

from ..display import json_option
from ..group import Verb
from ..options import Options
from ..output import note, paint, say, tell, width
from ..stacks import open_stack


@click.command(cls=Verb)
@click.argument("address", required=False)
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="Show at most N, the latest first.")
@json_option
@click.pass_obj
def command(options: Options, address: str | None, limit: int | None, as_json: bool) -> int:
    """List this stack's applies, the latest first: time, user, commit and outcome.

    With ADDRESS, such as `model_alias.fraud/champion`, show every change of that object, with its fields
    before and after."""
    from ...views import json
    from ...views.terminal import history as view

    stack = open_stack(options, manifests=False)
    target = None if address is None else stack.parse_address(address)
    applies = stack.history(target)
    latest = list(reversed(applies))[:limit]
    if as_json:
        say(json.document({"applies": latest}))
    elif not latest:
        note("No applies yet." if target is None else "No apply of this stack has changed this object.")
    elif target is None:
        tell(view.applies(latest, paint(options)))
    else:
        tell(view.of_address(latest, target, paint(options), width=width()))
    return 0
