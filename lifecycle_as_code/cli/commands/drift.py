"""`lac drift`: what changed outside."""

from __future__ import annotations

import click

from ..display import view_options
from ..group import Verb
from ..options import Options
from ..output import paint, say, tell, width
from ..stacks import opened


@click.command(cls=Verb)
@click.option(
    "--ignore",
    multiple=True,
    metavar="ADDRESS",
    help="Pass this over; an address or a pattern. May be repeated; lac.yaml may name more.",
)
@view_options("json", "markdown")
@click.pass_obj
def command(options: Options, ignore: tuple[str, ...], view: str | None) -> int:
    """Find what changed outside since the last apply, apart from what the manifests would change.

    Reads the stores and changes nothing. Exits with 2 when there is drift.
    """
    found = opened(options).drift(ignore)
    parts = found.outside, found.pending, found.problems
    match view:
        case "json":
            from ...views import json

            say(json.drift(*parts, found.updated))
        case "markdown":
            from ...views.markdown import drift as markdown_drift

            say(markdown_drift.drift(*parts, updated=found.updated))
        case _:
            from ...views.terminal import drift

            tell(drift.drift(*parts, paint(options), updated=found.updated, width=width()))
    if found.found:
        return 2
    return 1 if found.problems else 0
