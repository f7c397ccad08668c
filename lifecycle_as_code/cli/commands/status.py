"""`lac status`: whether the stack's local Ray is running."""

from __future__ import annotations

import click

from ..display import json_option
from ..group import Verb
from ..local_ray import as_data, as_text, state_directory
from ..options import Options
from ..output import say


@click.command(cls=Verb)
@json_option
@click.pass_obj
def command(options: Options, as_json: bool) -> int:
    """Show whether this stack's Ray is running on this machine, and its addresses."""
    from ...stores.ray import local
    from ...views import json

    ray = local.status(state_directory(options))
    if as_json:
        say(json.document(as_data(ray)))
    else:
        say(as_text(ray) if ray else "This stack's Ray is not running. Run `lac up` to start it.")
    return 0
