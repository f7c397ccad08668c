"""`lac up`: start the stack's local Ray."""

from __future__ import annotations

import click

from ..group import Verb
from ..local_ray import as_data, as_text, state_directory
from ..options import Options
from ..output import note, say
from ..stacks import open_stack


@click.command(cls=Verb)
@click.option("--num-cpus", type=click.IntRange(min=1), help="The number of CPUs that Ray can use.")
@click.option("--json", "as_json", is_flag=True, help="Print its addresses as JSON.")
@click.pass_obj
def command(options: Options, num_cpus: int | None, as_json: bool) -> int:
    """Start this stack's Ray on this machine, on loopback addresses only. Does nothing if it is running.

    With `serve: local` in lac.yaml, `lac apply` starts it, too. Replicas get a few variables of the
    environment, such as PATH, HOME and LANG, and those that the manifests name as `{{ env.NAME }}`.
    """
    from ...stores.ray import local
    from ...views import json

    directory = state_directory(options)
    stack = open_stack(options)
    ray = local.up(
        directory,
        num_cpus=num_cpus,
        environment=stack.replica_environment,
        tls=stack.local_tls,
        metrics_port=stack.metrics_port,
        on_progress=note,
    )
    say(json.document(as_data(ray)) if as_json else as_text(ray))
    return 0
