"""`lac drift`: what changed outside."""

from __future__ import annotations

import click

from .group import Verb
from .options import Options
from .output import paint, say, width
from .stacks import opened


@click.command(cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def command(options: Options, as_json: bool) -> int:
    """Find what changed outside since the last apply, apart from what the manifests would change.

    Reads the stores and changes nothing. Exits with 2 when there is drift.
    """
    from ..views import drift as view
    from ..views import json

    found = opened(options).drift()
    if as_json:
        say(json.drift(found.outside, found.pending, found.problems))
    else:
        say(view.drift(found.outside, found.pending, found.problems, paint(options), width=width()))
    if found.found:
        return 2
    return 1 if found.problems else 0
