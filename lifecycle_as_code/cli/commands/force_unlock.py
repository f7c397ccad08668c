"""`lac force-unlock`: release a stuck lock."""

from __future__ import annotations

import click

from ..group import Verb
from ..options import Options
from ..output import confirm, failure, is_interactive, note, say
from ..stacks import open_stack


@click.command(cls=Verb)
@click.argument("lock_id", metavar="ID")
@click.option("--force", is_flag=True, help="Don't ask for confirmation.")
@click.pass_obj
def command(options: Options, lock_id: str, force: bool) -> int:
    """Release the stack's lock. The ID is in the error that reported the lock.

    Use it only when the process that holds the lock died on another machine and you can't wait until its
    lease expires. If that process is still running, it can't write any more."""
    if not force:
        if not is_interactive():
            detail = "There is no terminal to ask on."
            raise failure("approval-needed", "the unlock needs approval", detail, "add `--force`")
        if not confirm("The lock's holder will not be able to write any more. Unlock the stack?"):
            note("Nothing was unlocked.")
            return 1
    open_stack(options, manifests=False).force_unlock(lock_id)
    say("Released the lock.")
    return 0
