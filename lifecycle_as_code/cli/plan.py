"""`lac plan`: what apply would do."""

from __future__ import annotations

import click

from .group import Verb
from .options import Options
from .output import paint, say, width
from .stacks import opened


@click.command(cls=Verb)
@click.option("--destroy", is_flag=True, help="Plan to delete everything that this stack owns.")
@click.option(
    "--refresh",
    type=bool,
    is_flag=False,
    flag_value="true",
    default=True,
    metavar="BOOL",
    help="`--refresh=false` believes the records instead of asking the cluster.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there is a difference.")
@click.option("--no-input", is_flag=True, expose_value=False, help="Never ask; plan never does.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def command(options: Options, destroy: bool, refresh: bool, detailed_exitcode: bool, as_json: bool) -> int:
    """Show what `lac apply` would do. Reads the stores and changes nothing."""
    plan = opened(options).plan(destroy=destroy, refresh=refresh)
    # one view only: the other one's models cost as much as comparing a thousand objects
    if as_json:
        from ..views import json

        say(json.plan(plan))
    else:
        from ..views import human

        say(human.plan(plan, paint(options), width=width()))
    return 2 if detailed_exitcode and plan.differences else 0
