"""`lac promote`: move an alias in the manifests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...views.text import safe
from ..display import show
from ..files import replace
from ..group import Verb
from ..options import Options
from ..output import note, paint, say
from ..stacks import open_stack

if TYPE_CHECKING:
    from ...model.plan import Plan
    from ...stack import Branch, Promotion


@click.command(cls=Verb)
@click.argument("model", metavar="MODEL")
@click.option("--to", "alias", default="champion", metavar="ALIAS", help="The alias to move.  [champion]")
@click.option(
    "--version",
    "version",
    metavar="VERSION",
    help="The new version: a number, `latest`, `@ALIAS` or `run:ID`.  [@challenger]",
)
@click.option("--where", metavar="CEL", help="Use the newest version for which this expression is true.")
@click.option(
    "--branch",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Commit the change to a new branch and check it out. Pushes nothing.",
)
@click.option("--dry-run", is_flag=True, help="Show the change of the file and write nothing.")
@click.option("--no-plan", is_flag=True, help="Don't make a plan.")
@click.option("--json", "as_json", is_flag=True, help="Print the change and the plan as JSON.")
@click.pass_obj
def command(
    options: Options,
    model: str,
    alias: str,
    version: str | None,
    where: str | None,
    branch: str | None,
    dry_run: bool,
    no_plan: bool,
    as_json: bool,
) -> int:
    """Move an alias of MODEL to another version, in the manifest that declares the alias.

    Nothing else in the file changes. The plan is shown before the file is written; if planning fails, the
    file stays unchanged. Applies nothing."""
    from ...views.terminal import edits

    if where is not None and version is not None:
        raise click.UsageError("--version and --where: choose one")
    stack = open_stack(options)
    promotion = stack.promote(model, to=alias, version=version, where=where)
    if not promotion.changes:
        if as_json:
            _print_json(promotion, None, written=False, branch=None, commit=None)
        else:
            pending = "" if promotion.live == promotion.version else "; run `lac apply` to apply it"
            address, at = safe(promotion.address), safe(promotion.at)
            say(f"{address} is already at version {promotion.version} ({at}){pending}.")
        return 0
    new_branch = None if branch is None else stack.branch(promotion, branch)
    if not as_json:
        say(edits.difference(promotion.file, promotion.text_before, promotion.text, paint(options)))
    plan = None if dry_run or no_plan else stack.plan_promotion(promotion)
    if plan is not None and not as_json:
        say("")
        show(plan, options, None)
    commit = None if dry_run else _write(promotion, plan, new_branch)
    name = new_branch.name if new_branch else None
    if as_json:
        _print_json(promotion, plan, written=not dry_run, branch=name, commit=commit)
        return 0
    if plan is not None and plan.review.denied:
        note("\nA policy denies this plan: `lac apply` would fail.")
    if dry_run:
        note("\nNothing was written.")
    elif name is None:
        note(f"\nEdited {safe(promotion.at or promotion.file)}. Commit it for review, or run `lac apply`.")
    else:
        file = safe(promotion.file)
        note(f"\nCommitted {file} to the new branch {safe(name)}. Nothing was pushed.")
    return 0


def _write(promotion: Promotion, plan: Plan | None, branch: Branch | None) -> str | None:
    """Write the file; its commit, where there is a branch. LacError where the file has changed meanwhile."""
    from ...views.terminal import edits

    def write() -> None:
        replace(Path(promotion.file), promotion.text_before.encode(), promotion.text.encode())

    if branch is None:
        write()
        return None
    evidence = [one for one in plan.review.evidence if one.address == promotion.address] if plan else []
    message = edits.promotion(promotion.model, promotion.alias, promotion.before, promotion.version, evidence)
    return branch.commit(write, message)


def _print_json(
    promotion: Promotion, plan: Plan | None, *, written: bool, branch: str | None, commit: str | None
) -> None:
    from ...planning.encoding import place_data, plan_data
    from ...views import json
    from ...views.terminal import edits

    data = {
        "address": str(promotion.address),
        "version": promotion.version,
        "before": promotion.before,
        "live": promotion.live,
        "changes": promotion.changes,
        "written": written,
        "at": place_data(promotion.at),
        "file": promotion.file,
        "patch": edits.patch(promotion.file, promotion.text_before, promotion.text),
        "branch": branch,
        "commit": commit,
        "plan": None if plan is None else plan_data(plan),
    }
    say(json.document(data))
