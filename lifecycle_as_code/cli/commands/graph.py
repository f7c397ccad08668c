"""`lac graph`: the dependency graph, and what a plan affects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...views.text import pluralize, safe
from ..files import write
from ..group import Verb
from ..options import Options
from ..output import note, say
from ..stacks import open_plan, open_stack

if TYPE_CHECKING:
    from ...review.graph import Graph

FORMATS = ("dot", "mermaid", "svg")

NOW = ""
"""The value of `--plan` without a FILE."""


@click.command(cls=Verb)
@click.argument("addresses", nargs=-1, metavar="[ADDRESS...]")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="dot",
    help="The output format; dot by default.",
)
@click.option(
    "--plan",
    is_flag=False,
    flag_value=NOW,
    metavar="[FILE]",
    help="Add the changes of a plan and what they affect: a saved plan, or a new one.",
)
@click.option("-o", "--out", "out", metavar="FILE", help="Write to FILE instead of stdout.")
@click.pass_obj
def command(
    options: Options, addresses: tuple[str, ...], format_: str, plan: str | None, out: str | None
) -> int:
    """Show the dependency graph of all objects, or of ADDRESS (or a pattern), its dependencies and its
    dependents. Arrows point to dependencies.

    Reads the stores only with --plan. The graph of a saved plan has the objects that it changes or affects.
    `lac graph --format svg -o graph.svg` doesn't need Graphviz."""
    from ...review.graph import select_part
    from ...views.graph.drawing import svg
    from ...views.graph.text import dot, mermaid

    graph = select_part(_graph(options, plan), addresses)
    text = {"dot": dot, "mermaid": mermaid, "svg": svg}[format_](graph)
    if out is None:
        say(text.rstrip("\n"))
        return 0
    write(Path(out), text.encode())
    note(f"Wrote {pluralize(len(graph.nodes), 'object')} to {safe(out)}.")
    return 0


def _graph(options: Options, plan: str | None) -> Graph:
    from ...review.graph import make_graph

    if plan:
        return make_graph(plan=open_plan(options, plan)[1].plan)
    stack = open_stack(options)
    return make_graph(stack.desired, None if plan is None else stack.plan())
