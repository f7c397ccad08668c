"""`lac down`: stop the stack's local Ray."""

from __future__ import annotations

import click

from ..group import Verb
from ..local_ray import stack_of, state_directory
from ..options import Options
from ..output import say


@click.command(cls=Verb)
@click.option("--all", "every", is_flag=True, help="Stop every local Ray that you started on this machine.")
@click.pass_obj
def command(options: Options, every: bool) -> int:
    """Stop the Ray that `lac up` started for this stack. Other Ray processes keep running.

    `--all` needs no stack: it stops the Ray of each of your stacks, including stacks whose directory was
    deleted. `lac status --all` lists them.
    """
    from ...stores.ray import local

    if every:
        rays = local.running()
        for ray in rays:
            local.end(ray)
            say(f"Stopped the Ray of {stack_of(ray)}.")
        if not rays:
            say("No local Ray is running.")
        return 0
    was_running = local.down(state_directory(options))
    say("Ray stopped." if was_running else "This stack's Ray was not running.")
    return 0
