"""`lac force-unlock`: free a lock whose holder is dead."""

from __future__ import annotations

import click

from ..group import Verb
from ..options import Options
from ..output import ask, interactive, note, say
from ..stacks import opened


@click.command(cls=Verb)
@click.argument("lock_id", metavar="ID")
@click.option("--force", is_flag=True, help="Don't ask.")
@click.pass_obj
def command(options: Options, lock_id: str, force: bool) -> int:
    """Free the stack's lock. ID stands in the error of whoever found the stack locked.

    Needed only where a holder on another machine died and nobody wants to wait until its lease runs out. A
    holder that lives after all can't write any more.
    """
    if not force:
        if not interactive(no_input=False):
            raise _nobody_to_ask()
        question = "Its holder will not be able to write any more. Unlock? Only `yes` counts:"
        if ask(question) != "yes":
            note("Nothing was unlocked.")
            return 1
    opened(options, manifests=False).force_unlock(lock_id)
    say("The lock is free.")
    return 0


def _nobody_to_ask() -> Exception:
    from ...model.diagnostics import Diagnostic, LacError

    return LacError(
        Diagnostic(
            "approval-needed",
            "the unlocking has to be approved",
            "There is no terminal to ask on.",
            hint="add `--force`",
        )
    )
