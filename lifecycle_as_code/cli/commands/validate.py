"""`lac validate`: check the manifests."""

from __future__ import annotations

import click

from ...views.text import pluralize
from ..group import Verb
from ..options import Options
from ..output import say, warn
from ..stacks import open_stack


@click.command(cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="Print diagnostics and counts as JSON.")
@click.pass_obj
def command(options: Options, as_json: bool) -> int:
    """Check the manifests: syntax, fields, variables and policies. Reads no store and no cluster."""
    from datetime import UTC, datetime

    from ...review.policy.judge import list_expired_waivers, require_valid_rules
    from ...views import json

    stack = open_stack(options)
    # reading the manifests doesn't load CEL, but checking their policies does
    require_valid_rules(stack.desired.rules)
    warnings = [*stack.warnings, *list_expired_waivers(stack.desired.rules, datetime.now(UTC))]
    if as_json:
        say(json.document({"objects": len(stack.desired.objects), "diagnostics": warnings}))
        return 0
    warn(warnings, options)
    say(f"Valid: {pluralize(len(stack.desired.objects), 'object')} declared.")
    return 0
