"""`lac validate`: the manifests alone."""

from __future__ import annotations

import click

from ..group import Verb
from ..options import Options
from ..output import say, warn
from ..stacks import opened


@click.command(cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="Print problems and counts as JSON.")
@click.pass_obj
def command(options: Options, as_json: bool) -> int:
    """Check the manifests: syntax, fields, references to variables. Touches no store and no cluster."""
    from datetime import UTC, datetime

    from ...review.policy.judge import expired, refuse_unready
    from ...views import json
    from ...views.text import counted

    stack = opened(options)
    # reading them needs no engine, knowing that they are right does
    refuse_unready(stack.desired.rules)
    warnings = [*stack.warnings, *expired(stack.desired.rules, datetime.now(UTC))]
    if as_json:
        say(json.document({"objects": len(stack.desired.objects), "diagnostics": warnings}))
        return 0
    warn(warnings, options)
    say(f"Valid: {counted(len(stack.desired.objects), 'object')} declared.")
    return 0
