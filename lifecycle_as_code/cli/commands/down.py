"""`lac down`: end the stack's own Ray."""

from __future__ import annotations

import click

from ..group import Verb
from ..local_ray import state_directory
from ..options import Options
from ..output import say


@click.command(cls=Verb)
@click.pass_obj
def command(options: Options) -> int:
    """End the Ray that `lac up` started for this stack, and nothing else."""
    from ...stores.ray import local

    ended = local.down(state_directory(options))
    say("Ray has ended." if ended else "No Ray of this stack was running.")
    return 0
