"""`lac up`: start the stack's local Ray."""

from __future__ import annotations

import click

from ..group import Verb
from ..local_ray import as_data, as_text, state_directory
from ..options import Options
from ..output import note, say


@click.command(cls=Verb)
@click.option("--num-cpus", type=click.IntRange(min=1), help="The number of CPUs that Ray can use.")
@click.option("--json", "as_json", is_flag=True, help="Print its addresses as JSON.")
@click.pass_obj
def command(options: Options, num_cpus: int | None, as_json: bool) -> int:
    """Start this stack's Ray on this machine, on loopback addresses only. Does nothing if it is running.

    With `serve: local` in lac.yaml, `lac apply` starts it, too."""
    from ...stores.ray import local
    from ...views import json

    ray = local.up(state_directory(options), num_cpus=num_cpus, on_progress=note)
    say(json.document(as_data(ray)) if as_json else as_text(ray))
    return 0
