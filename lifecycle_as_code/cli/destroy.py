"""`lac destroy`."""

from __future__ import annotations

import click

from .carry_out import carry_out, carrying_options
from .group import Verb
from .options import Options


@click.command(cls=Verb)
@carrying_options
@click.pass_obj
def command(options: Options, auto_approve: bool, no_input: bool, lock_timeout: float, as_json: bool) -> int:
    """Delete everything that this stack owns, imported objects too, after showing it and asking.

    What isn't this stack's is left alone. `lac plan --destroy` shows the same and deletes nothing.
    """
    return carry_out(
        options,
        destroy=True,
        refresh=True,
        auto_approve=auto_approve,
        no_input=no_input,
        lock_timeout=lock_timeout,
        as_json=as_json,
    )
