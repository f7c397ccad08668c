"""`lac explain`: why the plan changes an object or not."""

from __future__ import annotations

import click

from ..display import json_option
from ..group import Verb
from ..options import Options
from ..output import paint, say, tell, width
from ..stacks import open_stack


@click.command(cls=Verb)
@click.argument("address")
@json_option
@click.pass_obj
def command(options: Options, address: str, as_json: bool) -> int:
    """Explain why the plan changes the object at ADDRESS, such as `model_alias.fraud/champion`, or not: the
    line in the manifest, the record, and live state. Reads the stores and changes nothing."""
    from ...views import json
    from ...views.terminal import explanation as view

    stack = open_stack(options)
    explanation = stack.explain(stack.parse_address(address))
    if as_json:
        say(json.explanation(explanation))
    else:
        tell(view.explanation(explanation, paint(options), width=width()))
    return 0
