"""`lac plan`: the changes that apply would make."""

from __future__ import annotations

import click

from ..display import plan_views, show, warn_of_denials
from ..group import Verb
from ..options import Options
from ..plan_options import PlanOptions, out_option, plan_options
from ..stacks import open_stack, save_plan


@click.command(cls=Verb)
@plan_options
@out_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@click.option("--no-input", is_flag=True, expose_value=False, help="Never ask; plan asks nothing anyway.")
@plan_views
@click.pass_obj
def command(
    options: Options, request: PlanOptions, out: str | None, detailed_exitcode: bool, view: str | None
) -> int:
    """Show the changes that `lac apply` would make. Reads the stores and changes nothing.

    Exits with 1 if a policy denies the plan, which is still shown, and saved with -o."""
    stack = open_stack(options)
    plan = request.plan(stack)
    show(plan, options, view)
    if out is not None:
        save_plan(stack, plan, out, options)
    if plan.review.denied:
        return warn_of_denials(plan, options)
    return 2 if detailed_exitcode and plan.differences else 0
