"""`lac apply`."""

from __future__ import annotations

import click

from ..execution import ApplyOptions, apply_new_plan, apply_options, apply_saved_plan
from ..group import Verb
from ..options import Options
from ..plan_options import PlanOptions, plan_options


@click.command(cls=Verb)
@click.argument("file", required=False, metavar="[FILE]")
@plan_options
@apply_options
@click.option(
    "--same-manifests",
    is_flag=True,
    help="Refuse FILE if the manifests have changed since the plan was made.",
)
@click.pass_obj
def command(
    options: Options, request: PlanOptions, apply: ApplyOptions, file: str | None, same_manifests: bool
) -> int:
    """Make a plan, ask for approval, and apply it. With FILE, apply exactly the plan saved by `lac plan -o
    FILE`, without asking; variables then affect only the connections in lac.yaml.

    The first Ctrl-C finishes or rolls back the current operation and stops; the second aborts. Completed
    changes are recorded in both cases, and the next apply makes the remaining ones."""
    if file is None:
        if same_manifests:
            raise click.UsageError("--same-manifests requires a saved plan's FILE")
        return apply_new_plan(options, request.plan, apply)
    if request:
        raise click.UsageError("options that make a plan can't be combined with a saved plan's FILE")
    return apply_saved_plan(options, file, apply, same_manifests=same_manifests)
