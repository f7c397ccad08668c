"""`lac promote`: one alias moved in the manifests, with what a reviewer has to know."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..display import show
from ..group import Verb
from ..options import Options
from ..output import note, paint, say
from ..stacks import opened

if TYPE_CHECKING:
    from ...engine.git import Branch
    from ...engine.promotion import Promotion
    from ...model.plan import Plan
    from ...model.selector import VersionSelector


@click.command(cls=Verb)
@click.argument("model", metavar="MODEL")
@click.option("--to", "alias", default="champion", metavar="ALIAS", help="The alias to move.  [champion]")
@click.option(
    "--version",
    "version",
    metavar="VERSION",
    help="A number, `latest`, `@ALIAS` or `run:ID`.  [@challenger]",
)
@click.option("--where", metavar="CEL", help="The newest version for which this expression is true.")
@click.option(
    "--branch",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Commit the file to a branch that is made for it, and check that out. Nothing is pushed.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change in the file, and nothing else.")
@click.option("--no-plan", is_flag=True, help="Edit without planning.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done, and the plan, as JSON.")
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
    """Let an alias of MODEL point at another version: in the manifest that declares it, in place.

    Nothing else in the file changes. The plan of it is shown first; where there can be none, the file stays
    as it is. Nothing is applied.
    """
    from ...views.terminal import edits
    from ...views.text import safe

    stack = opened(options)
    found = stack.promote(model, to=alias, version=_asked(version, where))
    if not found.changes:
        return _already(found, as_json=as_json)
    prepared = _prepared(found, branch)
    if not as_json:
        say(edits.difference(found.file, found.text_before, found.text, paint(options)))
    plan = None
    if not (dry_run or no_plan):
        plan = stack.plan_of(found)
        if not as_json:
            say("")
            show(plan, options, None)
    commit = None if dry_run else _written(found, plan, prepared)
    if as_json:
        _tell(found, plan, written=not dry_run, branch=prepared.name if prepared else None, commit=commit)
        return 0
    if plan is not None and plan.review.denied:
        note("\nA policy denies it as it is: `lac apply` would refuse.")
    if dry_run:
        note("\nNothing was written.")
    elif prepared is None:
        note(f"\nEdited {safe(found.at or found.file)}. Commit it for review, or `lac apply`.")
    else:
        note(f"\nCommitted {safe(found.file)} to the branch {safe(prepared.name)}; nothing was pushed.")
    return 0


def _asked(version: str | None, where: str | None) -> int | VersionSelector | None:
    from ...engine import promotion

    if where is not None and version is not None:
        raise click.UsageError("--version and --where: choose one")
    if where is not None:
        return promotion.selector(where=where, newest=True)
    return None if version is None else promotion.asked(version)


def _already(found: Promotion, *, as_json: bool) -> int:
    from ...views.text import safe

    if as_json:
        _tell(found, None, written=False, branch=None, commit=None)
        return 0
    lives = "" if found.live == found.version else "; `lac apply` will make it so"
    say(f"{safe(found.address)} is version {found.version} already ({safe(found.at)}){lives}.")
    return 0


def _prepared(found: Promotion, name: str | None) -> Branch | None:
    """The branch that was asked for; it isn't made yet. LacError where it can't be."""
    if name is None:
        return None
    from ...engine import git

    name = name or git.named("promote", found.model, found.alias, f"v{found.version}")
    return git.prepared(Path(found.file), name, os.environ)


def _written(found: Promotion, plan: Plan | None, branch: Branch | None) -> str | None:
    """Write the file, as it was read but for the edit; the commit, where one was asked for."""
    from ...views.terminal import edits
    from ..files import replace

    def write() -> None:
        replace(Path(found.file), found.text_before.encode(), found.text.encode())

    if branch is None:
        write()
        return None
    evidence = [one for one in plan.review.evidence if one.address == found.address] if plan else []
    return branch.commit(
        write, edits.promotion(found.model, found.alias, found.before, found.version, evidence)
    )


def _tell(
    found: Promotion, plan: Plan | None, *, written: bool, branch: str | None, commit: str | None
) -> None:
    from ...planning.encoding import plan_data
    from ...views import json
    from ...views.terminal import edits

    say(
        json.document(
            {
                "address": str(found.address),
                "version": found.version,
                "before": found.before,
                "live": found.live,
                "changes": found.changes,
                "written": written,
                "at": found.at._asdict() if found.at else None,
                "file": found.file,
                "patch": edits.patch(found.file, found.text_before, found.text),
                "branch": branch,
                "commit": commit,
                "plan": None if plan is None else plan_data(plan),
            }
        )
    )
