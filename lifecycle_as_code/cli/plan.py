"""`lac plan`: what apply would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .group import Verb
from .options import Options
from .output import note, paint, say, width
from .planning import Planning, out_option, planning_options
from .stacks import opened

if TYPE_CHECKING:
    from ..change import Plan
    from ..stack import Stack


@click.command(cls=Verb)
@planning_options
@out_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there is a difference.")
@click.option("--no-input", is_flag=True, expose_value=False, help="Never ask; plan never does.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def command(
    options: Options, /, out: str | None, detailed_exitcode: bool, as_json: bool, **planning: Any
) -> int:
    """Show what `lac apply` would do. Reads the stores and changes nothing."""
    asked = Planning.of(**planning)
    stack = opened(options)
    plan = asked.plan(stack)
    show(plan, options, as_json=as_json)
    if out is not None:
        save(stack, plan, out)
    return 2 if detailed_exitcode and plan.differences else 0


def show(plan: Plan, options: Options, *, as_json: bool) -> None:
    """Print a plan."""
    # one view only: the other one's models cost as much as comparing a thousand objects
    if as_json:
        from ..views import json

        say(json.plan(plan))
    else:
        from ..views import human

        say(human.plan(plan, paint(options), width=width()))


def save(stack: Stack, plan: Plan, out: str) -> None:
    """Write a plan to a file, whole or not at all."""
    from pathlib import Path

    from ..views.text import safe
    from .files import write

    write(Path(out), stack.saved(plan))
    note(f"\nSaved the plan to {safe(out)}. To carry out exactly this plan: lac apply {safe(out)}")
