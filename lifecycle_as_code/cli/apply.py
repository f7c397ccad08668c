"""`lac apply`."""

from __future__ import annotations

import click

from .carry_out import carry_out, carrying_options
from .group import Verb
from .options import Options


@click.command(cls=Verb)
@carrying_options
@click.option(
    "--refresh",
    type=bool,
    is_flag=False,
    flag_value="true",
    default=True,
    metavar="BOOL",
    help="`--refresh=false` plans from the records instead of asking the cluster.",
)
@click.pass_obj
def command(
    options: Options, refresh: bool, auto_approve: bool, no_input: bool, lock_timeout: float, as_json: bool
) -> int:
    """Show the plan, ask, and carry it out.

    The first Ctrl-C finishes or undoes the effect at hand and ends; the second aborts at once. What was
    done is recorded in either case, and the next apply does the rest.
    """
    return carry_out(
        options,
        destroy=False,
        refresh=refresh,
        auto_approve=auto_approve,
        no_input=no_input,
        lock_timeout=lock_timeout,
        as_json=as_json,
    )
