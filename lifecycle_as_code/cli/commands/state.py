"""`lac state`: what this stack recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..group import Group
from ..options import Options
from ..output import note, paint, say, width
from ..stacks import opened, warn_of_commit

if TYPE_CHECKING:
    from ...model.snapshot import Record


@click.group(cls=Group)
def command() -> None:
    """List, show or forget what this stack recorded as its own."""


@command.command("list", short_help="List what this stack owns.")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--json", "as_json", is_flag=True, help="Print whole records as JSON.")
@click.pass_obj
def list_(options: Options, patterns: tuple[str, ...], as_json: bool) -> int:
    """List the addresses of what this stack owns; PATTERN such as `model_alias.*` picks some."""
    from ...views import json
    from ...views.text import safe

    found = [record for record in opened(options).records() if _matches(record, patterns)]
    if as_json:
        say(json.records(found))
    elif found:
        say("\n".join(safe(record.address) for record in found))
    return 0


@command.command("show", short_help="Show one record.")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def show(options: Options, address: str, as_json: bool) -> int:
    """Show what was last applied to one object."""
    from ...views import json
    from ...views.terminal import show as view

    stack = opened(options)
    wanted = stack.parse_address(address)
    found = [record for record in stack.records() if record.address == wanted]
    if not found:
        raise _not_recorded(address)
    say(json.records(found) if as_json else view.recorded(found[0], paint(options), width=width()))
    return 0


@command.command("rm", short_help="Forget objects; they stay as they are.")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten, and forget nothing.")
@click.pass_obj
def rm(options: Options, addresses: tuple[str, ...], dry_run: bool) -> int:
    """Forget objects: they stay as they are, and stop being this stack's.

    Take them out of the manifests as well, or the next plan refuses: they would exist and not be ours.
    """
    from ...views.text import counted, safe

    stack = opened(options)
    wanted = list(dict.fromkeys(stack.parse_address(address) for address in addresses))
    if dry_run:
        ours = {record.address for record in stack.records()}
        if strange := [address for address in wanted if address not in ours]:
            raise _not_recorded(*map(str, strange))
    else:
        warn_of_commit(stack, options)
        stack.forget(wanted)
    say("\n".join(f"{'would forget' if dry_run else 'forgot'} {safe(address)}" for address in wanted))
    if declared := [address for address in wanted if address in stack.desired.objects]:
        note(f"{counted(len(declared), 'of them is', 'of them are')} still declared in the manifests.")
    return 0


def _matches(record: Record, patterns: tuple[str, ...]) -> bool:
    from ...planning.targeting import matches

    return not patterns or matches(record.address, patterns)


def _not_recorded(*addresses: str) -> Exception:
    from ...model.diagnostics import Diagnostic, LacError

    return LacError(
        *(
            Diagnostic(
                "not-recorded",
                "this stack doesn't own the object",
                f"{address} has no record.",
                hint="`lac state list` shows what has",
            )
            for address in addresses
        )
    )
