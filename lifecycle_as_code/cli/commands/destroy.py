"""`lac destroy`."""

from __future__ import annotations

import click

from ..execution import Carrying, carry_out, carrying_options
from ..group import Verb
from ..options import Options
from ..plan_options import Planning, allow_option


@click.command(cls=Verb)
@allow_option
@carrying_options
@click.pass_obj
def command(
    options: Options,
    allow: tuple[str, ...],
    auto_approve: bool,
    no_input: bool,
    lock_timeout: float,
    as_json: bool,
) -> int:
    """Delete everything that this stack owns, imported objects too, after showing it and asking.

    What isn't this stack's is left alone. `lac plan --destroy` shows the same and deletes nothing.
    """
    asked = Planning.of(destroy=True, allow=allow)
    return carry_out(options, asked.plan, Carrying(auto_approve, no_input, lock_timeout, as_json))
