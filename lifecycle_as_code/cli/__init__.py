"""The command `lac`: click commands, one file a verb, loaded when they are used.

Only this package prints and exits. Exit codes: 0 done; 1 any error, usage errors too; 2 only and
always a difference (`plan --detailed-exitcode`, `drift`).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from .. import __version__
from . import streams
from .group import LazyGroup
from .options import Options, shared_options

# module and help of every verb: `lac --help` prints the table and imports none of them
VERBS: dict[str, dict[str, tuple[str, str]]] = {
    "Commands": {
        "init": ("init", "Write a starter stack into a directory."),
        "validate": ("validate", "Check the manifests; touches no store."),
        "fmt": ("fmt", "Rewrite manifests in the one layout."),
        "plan": ("plan", "Show what apply would do."),
        "apply": ("apply", "Make the stores what the manifests say."),
        "drift": ("drift", "Find what changed outside; changes nothing."),
        "rollback": ("rollback", "Plan to restore what was before an apply."),
        "promote": ("promote", "Move an alias in the manifests, and show the plan of it."),
        "destroy": ("destroy", "Delete everything that this stack owns."),
    },
    "Objects": {
        "show": ("show", "Show one object, a saved plan, or the records of a time."),
        "diff": ("diff", "Compare environments, points of history, a plan file, what is live."),
        "explain": ("explain", "Say why an object is changed, or isn't."),
        "history": ("history", "List applies: who changed what, when, from what."),
        "graph": ("graph", "Draw what needs what, and what a plan reaches."),
        "import": ("import_", "Take live objects over and write their YAML."),
        "state": ("state", "List, show or forget what is recorded."),
        "force-unlock": ("force_unlock", "Free a lock whose holder is dead."),
    },
    "Reference": {
        "policy": ("policy", "List, explain and test what is asked of changes."),
        "kinds": ("kinds", "List the kinds of objects and their fields."),
        "schema": ("schema", "Print the JSON Schema of manifests or of lac.yaml."),
    },
    "Local Ray (serve: local)": {
        "up": ("up", "Start this stack's Ray on this machine."),
        "down": ("down", "End it."),
        "status": ("status", "Say whether it runs, and where."),
    },
}


def _group() -> LazyGroup:
    version = click.version_option(__version__, message="lac %(version)s")
    group = LazyGroup(
        name="lac",
        verbs=VERBS,
        params=shared_options(),
        context_settings={"terminal_width": _help_width()},
        help="Terraform for the ML lifecycle: plan and apply MLflow's registry and Ray Serve from YAML.",
        epilog="Exit codes: 0 done, 1 error, 2 there is a difference (plan --detailed-exitcode, drift).",
    )
    return version(group)


def _help_width() -> int:
    """As click reckons it, without `shutil`, which costs a tenth of `lac --help`."""
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        columns = 80
    return max(min(columns, 80) - 2, 50)


def run(args: Sequence[str]) -> int:
    """Run one command and return its exit code; what goes wrong is told on stderr."""
    options = Options()
    try:
        code = _group().main(list(args), prog_name="lac", obj=options, standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        # imported here: the way to success needs none of it
        from .errors import told

        return told(error, args, options)
    if not code and (lost := streams.lost()):
        from .errors import tell_of_loss

        return tell_of_loss(lost, options)
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """The console script."""
    # a command makes many objects that stay, and ends soon: looking through them for cycles again and
    # again would cost a third of its time
    gc.set_threshold(1_000_000, 20, 100)
    streams.install()
    code = run(sys.argv[1:])
    # nor when Python ends
    gc.freeze()
    sys.exit(code)


__all__ = ["main", "run"]
