"""`lac history`: who did what, when."""

from __future__ import annotations

import click

from ..group import Verb
from ..options import Options
from ..output import note, paint, say, tell, width
from ..stacks import opened


@click.command(cls=Verb)
@click.argument("address", required=False)
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="At most so many, the latest first.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, in full.")
@click.pass_obj
def command(options: Options, address: str | None, limit: int | None, as_json: bool) -> int:
    """List this stack's applies, the latest first: when, who, from which commit, and what came of it.

    With ADDRESS, such as `model_alias.fraud/champion`, every change of that object, from what to what.
    """
    from ...views import json
    from ...views.terminal import history as view

    stack = opened(options, manifests=False)
    asked = None if address is None else stack.parse_address(address)
    applies = stack.history(asked)
    latest = list(reversed(applies))[:limit]
    if as_json:
        say(json.history(latest))
    elif not latest:
        note("Nothing was applied yet." if asked is None else "No apply of this stack touched it.")
    elif asked is None:
        tell(view.applies(latest, paint(options)))
    else:
        tell(view.of_address(latest, asked, paint(options), width=width()))
    return 0
