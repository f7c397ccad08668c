"""`lac drift`: what changed outside."""

from __future__ import annotations

import click

from .group import Verb
from .options import Options
from .output import paint, say, width
from .stacks import opened


@click.command(cls=Verb)
@click.option(
    "--ignore",
    multiple=True,
    metavar="ADDRESS",
    help="Pass this over; an address or a pattern. May be repeated; lac.yaml may name more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def command(options: Options, ignore: tuple[str, ...], as_json: bool) -> int:
    """Find what changed outside since the last apply, apart from what the manifests would change.

    Reads the stores and changes nothing. Exits with 2 when there is drift.
    """
    from ..views import drift as view
    from ..views import json

    found = opened(options).drift(ignore)
    if as_json:
        say(json.drift(found.outside, found.pending, found.problems, found.updated))
    else:
        told = view.drift(
            found.outside, found.pending, found.problems, paint(options), updated=found.updated, width=width()
        )
        say(told)
    if found.found:
        return 2
    return 1 if found.problems else 0
