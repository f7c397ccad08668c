"""`lac apply`."""

from __future__ import annotations

from typing import Any

import click

from ..execution import Carrying, carry_out, carry_out_saved, carrying_options
from ..group import Verb
from ..options import Options
from ..plan_options import Planning, planning_options


@click.command(cls=Verb)
@click.argument("file", required=False, metavar="[FILE]")
@planning_options
@carrying_options
@click.option(
    "--same-manifests",
    is_flag=True,
    help="Refuse FILE where the manifests aren't those that it was made from.",
)
@click.pass_obj
def command(
    options: Options,
    /,
    file: str | None,
    auto_approve: bool,
    no_input: bool,
    lock_timeout: float,
    as_json: bool,
    same_manifests: bool,
    **planning: Any,
) -> int:
    """Show the plan, ask, and carry it out. With FILE, carry out the plan that `lac plan -o FILE` saved,
    exactly and without asking; variables then matter for lac.yaml's connections only.

    The first Ctrl-C finishes or undoes the effect at hand and ends; the second aborts at once. What was
    done is recorded in either case, and the next apply does the rest.
    """
    carrying = Carrying(auto_approve, no_input, lock_timeout, as_json)
    asked = Planning.of(**planning)
    if file is None:
        if same_manifests:
            raise click.UsageError("--same-manifests is about a saved plan: name its FILE")
        return carry_out(options, asked.plan, carrying)
    if asked:
        raise click.UsageError("a saved plan is carried out as it is: no other options go with FILE")
    return carry_out_saved(options, file, carrying, same_manifests=same_manifests)
