"""`lac down`: stop the stack's local Ray."""

from __future__ import annotations

import click

from ..group import Verb
from ..local_ray import state_directory
from ..options import Options
from ..output import say


@click.command(cls=Verb)
@click.pass_obj
def command(options: Options) -> int:
    """Stop the Ray that `lac up` started for this stack. Other Ray processes keep running."""
    from ...stores.ray import local

    was_running = local.down(state_directory(options))
    say("Ray stopped." if was_running else "This stack's Ray was not running.")
    return 0
