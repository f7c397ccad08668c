"""`lac validate`: the manifests alone."""

from __future__ import annotations

import click

from .group import Verb
from .options import Options
from .output import say, warn
from .stacks import opened


@click.command(cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="Print problems and counts as JSON.")
@click.pass_obj
def command(options: Options, as_json: bool) -> int:
    """Check the manifests: syntax, fields, references to variables. Touches no store and no cluster."""
    from ..views import json
    from ..views.text import counted

    stack = opened(options)
    if as_json:
        found = [json.diagnostic_data(warning) for warning in stack.warnings]
        say(json.document({"objects": len(stack.desired.objects), "diagnostics": found}))
        return 0
    warn(stack.warnings, options)
    say(f"Valid: {counted(len(stack.desired.objects), 'object')} declared.")
    return 0
