"""`lac status`: whether the stack's own Ray runs."""

from __future__ import annotations

import click

from ..group import Verb
from ..local_ray import as_data, as_text, state_directory
from ..options import Options
from ..output import say


@click.command(cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def command(options: Options, as_json: bool) -> int:
    """Say whether this stack's Ray runs on this machine, and where it answers."""
    from ...stores.ray import local
    from ...views import json

    ray = local.status(state_directory(options))
    if as_json:
        say(json.document(as_data(ray)))
    else:
        say(as_text(ray) if ray else "No Ray of this stack is running; `lac up` or `lac apply` starts one.")
    return 0
