"""`lac destroy`."""

from __future__ import annotations

import click

from ..execution import ApplyOptions, apply_new_plan, apply_options
from ..group import Verb
from ..options import Options
from ..plan_options import PlanOptions, allow_option


@click.command(cls=Verb)
@allow_option
@apply_options
@click.pass_obj
def command(options: Options, allow: tuple[str, ...], apply: ApplyOptions) -> int:
    """Delete every object that this stack manages, imported ones included, after showing the plan and asking.

    Objects of other stacks stay. `lac plan --destroy` shows the same plan and deletes nothing."""
    request = PlanOptions(destroy=True, allow=allow)
    return apply_new_plan(options, request.plan, apply)
