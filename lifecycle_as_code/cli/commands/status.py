"""`lac status`: whether the stack's local Ray is running."""

from __future__ import annotations

from dataclasses import asdict

import click

from ..display import json_option
from ..group import Verb
from ..local_ray import (
    all_as_data,
    all_as_text,
    as_data,
    as_text,
    find_endpoints,
    health_as_text,
    state_directory,
)
from ..options import Options
from ..output import say


@click.command(cls=Verb)
@click.option("--all", "every", is_flag=True, help="List every local Ray that you started on this machine.")
@json_option
@click.pass_obj
def command(options: Options, every: bool, as_json: bool) -> int:
    """Show whether this stack's Ray is running on this machine, its addresses, and how its endpoints fare.

    Each endpoint is asked at the address that its callers use.
    `--all` needs no stack: it lists the Ray of each of your stacks, including stacks whose directory was
    deleted. `lac down --all` stops them.
    """
    from ...stores.ray import local
    from ...views import json

    if every:
        say(json.document(all_as_data()) if as_json else all_as_text() or "No local Ray is running.")
        return 0
    ray = local.status(state_directory(options))
    if ray is None:
        message = "This stack's Ray is not running on this machine. With `serve: local`, `lac up` starts it."
        say(json.document(as_data(None)) if as_json else message)
        return 0
    if not as_json:
        say(as_text(ray))
    endpoints = find_endpoints(options, ray)
    if as_json:
        rows = [asdict(one) for one in endpoints]
        say(json.document({**as_data(ray), "serving_endpoints": rows, "listen": ray.listen or None}))
    elif endpoints:
        say(health_as_text(ray, endpoints))
    return 0
