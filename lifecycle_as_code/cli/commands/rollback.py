"""`lac rollback`: the plan that restores an earlier state."""

from __future__ import annotations

from pathlib import Path

import click

from ...views.text import safe
from ..display import plan_views, show, warn_of_denials
from ..files import write
from ..group import Verb
from ..options import Options
from ..output import note
from ..plan_options import allow_option, out_option
from ..stacks import open_stack, save_plan


@click.command(cls=Verb)
@click.argument("what", metavar="APPLY|ADDRESS")
@allow_option
@out_option
@click.option("--write", "edit", is_flag=True, help="Edit the manifests to match the plan.")
@plan_views
@click.pass_obj
def command(
    options: Options, what: str, allow: tuple[str, ...], out: str | None, edit: bool, view: str | None
) -> int:
    """Plan to restore the state before an apply, or before the last change of one object.

    APPLY is an id from `lac history`, or the beginning of one. Endpoints that follow a restored alias are
    restored with it. Applies nothing: save the plan with `-o FILE` and run `lac apply FILE`, or edit the
    manifests with --write and have them reviewed."""
    stack = open_stack(options)
    rollback = stack.rollback(what, allow=allow)
    plan = rollback.plan
    show(plan, options, view)
    if edit:
        texts = rollback.texts()
        for file, text in texts.items():
            write(Path(file), text.encode())
            note(f"Edited {safe(file)}.")
        if not texts:
            note("The manifests already match the plan.")
    # saved after the edit: the file names the manifests as they are now
    if out is not None:
        save_plan(stack, plan, out, options)
    if out is None and not edit and plan.differences:
        note(
            "\nNothing was applied. Pass `-o FILE` to save the plan for `lac apply FILE`,"
            " or `--write` to edit the manifests."
        )
    return warn_of_denials(plan, options) if plan.review.denied else 0
