"""`lac plan`: what apply would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..display import plan_views, show
from ..group import Verb
from ..options import Options
from ..output import note
from ..plan_options import Planning, out_option, planning_options
from ..stacks import opened, warn_of_commit

if TYPE_CHECKING:
    from ...model.plan import Plan
    from ...stack import Stack


@click.command(cls=Verb)
@planning_options
@out_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there is a difference.")
@click.option("--no-input", is_flag=True, expose_value=False, help="Never ask; plan never does.")
@plan_views
@click.pass_obj
def command(
    options: Options, /, out: str | None, detailed_exitcode: bool, view: str | None, **planning: Any
) -> int:
    """Show what `lac apply` would do. Reads the stores and changes nothing.

    Exits with 1 where a policy denies it; the plan is shown, and with -o saved, all the same.
    """
    asked = Planning.of(**planning)
    stack = opened(options)
    plan = asked.plan(stack)
    show(plan, options, view)
    if out is not None:
        save(stack, plan, out, options)
    if plan.review.denied:
        return denied(plan, options)
    return 2 if detailed_exitcode and plan.differences else 0


def denied(plan: Plan, options: Options) -> int:
    """Say on stderr which policies deny the plan. The exit code: 1, for it can't be applied."""
    from ...review.policy.judge import denials
    from ..output import warn

    warn(denials(plan), options)
    return 1


def save(stack: Stack, plan: Plan, out: str, options: Options) -> None:
    """Write a plan to a file, whole or not at all."""
    from pathlib import Path

    from ...views.text import safe
    from ..files import write

    warn_of_commit(stack, options)
    write(Path(out), stack.saved(plan))
    note(f"\nSaved the plan to {safe(out)}. To carry out exactly this plan: lac apply {safe(out)}")
