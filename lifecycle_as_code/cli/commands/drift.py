"""`lac drift`: changes made outside lac."""

from __future__ import annotations

import click

from ..display import view_options
from ..group import Verb
from ..options import Options
from ..output import paint, say, tell, width
from ..stacks import open_stack


@click.command(cls=Verb)
@click.option(
    "--ignore",
    multiple=True,
    metavar="ADDRESS",
    help="Ignore ADDRESS (or a pattern), in addition to those in lac.yaml. May be repeated.",
)
@view_options("json", "markdown")
@click.pass_obj
def command(options: Options, ignore: tuple[str, ...], view: str | None) -> int:
    """Detect changes made outside lac since the last apply, and list pending changes of the
    manifests separately.

    Reads the stores and changes nothing. Exits with 2 if there is drift."""
    drift = open_stack(options).drift(ignore)
    match view:
        case "json":
            from ...views import json

            say(json.drift(drift))
        case "markdown":
            from ...views.markdown import drift as markdown_view

            say(markdown_view.drift(drift))
        case _:
            from ...views.terminal import drift as terminal_view

            tell(terminal_view.drift(drift, paint(options), width=width()))
    if drift.exists:
        return 2
    return 1 if drift.problems else 0
