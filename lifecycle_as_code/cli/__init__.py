"""The command `lac`: click commands, one file a command, imported when it is called.

Only this package prints and exits. Exit codes: 0 success; 1 any error, usage errors included; 2 always and
only a difference (`plan --detailed-exitcode`, `drift`)."""

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
from .options import Options

# module and help of every command: `lac --help` prints the table and imports none of them
VERBS: dict[str, dict[str, tuple[str, str]]] = {
    "Commands": {
        "init": ("init", "Create a starter stack in a directory."),
        "validate": ("validate", "Check whether the manifests are valid."),
        "fmt": ("fmt", "Format manifests."),
        "plan": ("plan", "Show the changes that apply would make."),
        "apply": ("apply", "Apply changes."),
        "drift": ("drift", "Detect changes made outside lac."),
        "rollback": ("rollback", "Plan to restore the state before an apply."),
        "promote": ("promote", "Move an alias in the manifests and show the plan."),
        "destroy": ("destroy", "Delete every object that this stack manages."),
    },
    "Objects": {
        "show": ("show", "Show an object, a saved plan, or past records."),
        "diff": ("diff", "Compare environments, plans, records or live state."),
        "explain": ("explain", "Explain why the plan does or doesn't change an object."),
        "history": ("history", "List applies: who, when, what, from which commit."),
        "graph": ("graph", "Show the dependency graph."),
        "import": ("import_", "Import live objects and write their YAML."),
        "state": ("state", "List, show or remove records."),
        "token": ("token", "Create, list or revoke bearer tokens for endpoints."),
        "usage": ("usage", "Show how much the endpoints were used."),
        "force-unlock": ("force_unlock", "Release a stuck lock on the stack."),
    },
    "Reference": {
        "policy": ("policy", "List and test policies."),
        "kinds": ("kinds", "List the kinds of objects and their fields."),
        "schema": ("schema", "Print the JSON Schema of manifests or of lac.yaml."),
    },
    "Local Ray (serve: local)": {
        "up": ("up", "Start the local Ray."),
        "down": ("down", "Stop the local Ray."),
        "status": ("status", "Show whether the local Ray is running."),
    },
}


def _group() -> LazyGroup:
    version = click.version_option(__version__, message="lac %(version)s")
    group = LazyGroup(
        name="lac",
        verbs=VERBS,
        context_settings={"terminal_width": _help_width()},
        help="Terraform for the ML lifecycle: plan and apply MLflow's registry and Ray Serve from YAML.",
        epilog="Exit codes: 0 success, 1 error, 2 difference (plan --detailed-exitcode, drift).",
    )
    return version(group)


def _help_width() -> int:
    """Click's own computation without `shutil`, whose import takes a tenth of `lac --help`."""
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        columns = 80
    return max(min(columns, 80) - 2, 50)


def run(args: Sequence[str]) -> int:
    """Run one command and return its exit code. Errors go to stderr."""
    options = Options()
    try:
        code = _group().main(list(args), prog_name="lac", obj=options, standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        # imported here: success doesn't need it
        from .errors import report_error

        return report_error(error, args, options)
    if not code and (write_error := streams.write_error()):
        from .errors import report_lost_output

        return report_lost_output(write_error, options)
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """The console script."""
    # a command makes many objects that live until its end: looking for cycles among them would take a third
    # of its time
    gc.set_threshold(1_000_000, 20, 100)
    streams.install()
    code = run(sys.argv[1:])
    # the same at exit
    gc.freeze()
    sys.exit(code)


__all__ = ["main", "run"]
