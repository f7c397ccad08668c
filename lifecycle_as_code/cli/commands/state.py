"""`lac state`: the stack's records."""

from __future__ import annotations

import click

from ...model.diagnostics import Diagnostic, LacError, refuse
from ...views.text import pluralize, safe
from ..display import json_option
from ..group import Group
from ..options import Options
from ..output import note, paint, say, width
from ..stacks import open_stack, warn_of_commit


@click.group(cls=Group)
def command() -> None:
    """List, show or remove this stack's records: the objects that it manages."""


@command.command("list", short_help="List the objects that this stack manages.")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--json", "as_json", is_flag=True, help="Print the whole records as JSON.")
@click.pass_obj
def list_(options: Options, patterns: tuple[str, ...], as_json: bool) -> int:
    """List the addresses of the objects that this stack manages. PATTERN, such as `model_alias.*`, filters
    them."""
    from ...planning.targeting import matches
    from ...views import json

    records = open_stack(options).records()
    if patterns:
        records = tuple(record for record in records if matches(record.address, patterns))
    if as_json:
        say(json.document({"records": records}))
    elif records:
        say("\n".join(safe(record.address) for record in records))
    return 0


@command.command("show", short_help="Show one record.")
@click.argument("address")
@json_option
@click.pass_obj
def show(options: Options, address: str, as_json: bool) -> int:
    """Show what lac last applied to the object at ADDRESS."""
    from ...views import json
    from ...views.terminal import show as view

    stack = open_stack(options)
    target = stack.parse_address(address)
    records = [record for record in stack.records() if record.address == target]
    if not records:
        raise LacError(_record_error(address))
    if as_json:
        say(json.document({"records": records}))
    else:
        say(view.record(records[0], paint(options), width=width()))
    return 0


@command.command("rm", short_help="Remove records; the objects stay.")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--dry-run", is_flag=True, help="Show what would be removed and remove nothing.")
@click.pass_obj
def rm(options: Options, addresses: tuple[str, ...], dry_run: bool) -> int:
    """Remove records: the objects stay as they are, and this stack stops managing them.

    Remove the objects from the manifests, too: otherwise the next plan fails, because they exist and no stack
    manages them."""
    stack = open_stack(options)
    targets = list(dict.fromkeys(stack.parse_address(address) for address in addresses))
    if dry_run:
        own = {record.address for record in stack.records()}
        refuse([_record_error(address) for address in targets if address not in own])
    else:
        warn_of_commit(stack, options)
        stack.forget(targets)
    say("\n".join(f"{'would remove' if dry_run else 'removed'} {safe(address)}" for address in targets))
    if count := sum(address in stack.desired.objects for address in targets):
        note(f"{pluralize(count, 'of them is', 'of them are')} still declared in the manifests.")
    return 0


def _record_error(address: object) -> Diagnostic:
    return Diagnostic(
        "not-recorded",
        "this stack doesn't manage the object",
        f"{address} has no record.",
        hint="run `lac state list` to list the objects that it manages",
    )
