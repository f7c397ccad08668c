"""`lac graph`: what needs what, and what a plan reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..group import Verb
from ..options import Options
from ..output import note, say
from ..stacks import opened

if TYPE_CHECKING:
    from ...review.graph import Graph

FORMATS = ("dot", "mermaid", "svg")

NOW = ""
"""What `--plan` says without a FILE."""


@click.command(cls=Verb)
@click.argument("addresses", nargs=-1, metavar="[ADDRESS...]")
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="dot", help="The language; dot by default."
)
@click.option(
    "--plan",
    is_flag=False,
    flag_value=NOW,
    metavar="[FILE]",
    help="With what a plan does and reaches: a saved one, or else the plan as of now.",
)
@click.option("-o", "--out", "out", metavar="FILE", help="Write it to FILE instead.")
@click.pass_obj
def command(
    options: Options, addresses: tuple[str, ...], format_: str, plan: str | None, out: str | None
) -> int:
    """Draw what needs what: all that is declared, or with ADDRESS (patterns, too) that, what it needs, and
    what needs it. An arrow goes to what is needed.

    Touches no store; with --plan, reads them like `lac plan`. The objects of a saved plan are those that it
    changes and reaches. `lac graph --format svg -o graph.svg` needs no Graphviz.
    """
    from ...review.graph import about
    from ...views.graph import text as view

    graph = about(_graph(options, plan), addresses)
    text = {"dot": view.dot, "mermaid": view.mermaid, "svg": view.svg}[format_](graph)
    if out is None:
        say(text.rstrip("\n"))
        return 0
    from pathlib import Path

    from ...views.text import counted, safe
    from ..files import write

    write(Path(out), text.encode())
    note(f"Wrote {counted(len(graph.nodes), 'object')} to {safe(out)}.")
    return 0


def _graph(options: Options, plan: str | None) -> Graph:
    from ...review.graph import make_graph

    if plan:
        from ..plan_files import from_file

        return make_graph(plan=from_file(options, plan)[1].plan)
    stack = opened(options)
    return make_graph(stack.desired, None if plan is None else stack.plan())
