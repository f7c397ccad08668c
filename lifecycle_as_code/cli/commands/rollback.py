"""`lac rollback`: the plan that restores what was."""

from __future__ import annotations

from pathlib import Path

import click

from ..display import plan_views, show
from ..group import Verb
from ..options import Options
from ..output import note
from ..plan_options import allow_option, out_option, refuse_unknown
from ..stacks import opened
from .plan import denied, save


@click.command(cls=Verb)
@click.argument("what", metavar="APPLY|ADDRESS")
@allow_option
@out_option
@click.option("--write", "edit", is_flag=True, help="Edit the manifests so that they agree with the plan.")
@plan_views
@click.pass_obj
def command(
    options: Options, what: str, allow: tuple[str, ...], out: str | None, edit: bool, view: str | None
) -> int:
    """Plan to restore what was before an apply, or before the last change of one object.

    APPLY is an id that `lac history` shows, or its beginning. Endpoints that follow a restored alias go back
    with it. Nothing is applied: save the plan with `-o FILE` and carry it out with `lac apply FILE`, or edit
    the manifests with --write and let them be reviewed.
    """
    from ...views.text import safe
    from ..files import write

    refuse_unknown(allow)
    stack = opened(options)
    found = stack.rollback(what, allow=allow)
    show(found.plan, options, view)
    if edit:
        texts = found.texts()
        for file, text in texts.items():
            write(Path(file), text.encode())
            note(f"Edited {safe(file)}.")
        if not texts:
            note("The manifests agree with it already.")
    # the plan names the manifests as they are now: it agrees with them
    if out is not None:
        save(stack, found.plan, out, options)
    if out is None and not edit and found.plan.differences:
        note(
            "\nNothing was applied: `-o FILE` saves this for `lac apply FILE`, `--write` edits the manifests."
        )
    return denied(found.plan, options) if found.plan.review.denied else 0
