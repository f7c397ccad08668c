"""`lac usage`: how much the endpoints were used."""

from __future__ import annotations

import re
import sys
import time

import click

from ...model.usage import BY, By
from ..display import json_option
from ..group import Verb
from ..options import Options
from ..output import paint, say, width
from ..stacks import open_stack

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def _parse_age(_: click.Context, param: click.Parameter, value: str) -> int:
    """A span of time, such as `24h`, in ms."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", value, re.ASCII)
    if match is None:
        message = f"`{value}` is not a time span such as `30m`, `24h`, `7d` or `4w`"
        raise click.BadParameter(message, param=param)
    return int(match[1]) * _UNITS[match[2]] * 1000


@click.command(cls=Verb)
@click.argument("endpoint", required=False, default="")
@click.option(
    "--since", callback=_parse_age, default="24h", metavar="AGE", help="Time span to show.  [default: 24h]"
)
@click.option("--by", type=click.Choice(BY), help="Group requests.  [default: endpoint; entity for ENDPOINT]")
@json_option
@click.pass_obj
def command(options: Options, endpoint: str, since: int, by: By | None, as_json: bool) -> int:
    """Show how much the endpoints were used: requests, errors, latency, rows and tokens.

    Endpoints with `usage_tracking_config` write to `usage_store`, which lac.yaml names. AGE is a number and
    `m`, `h`, `d` or `w`, such as `7d`. Hours and days are in UTC."""
    from ...views import json
    from ...views.terminal import usage as view

    stack = open_stack(options, manifests=False)
    until = time.time_ns() // 1_000_000
    usage = stack.read_usage(
        endpoint, by=by or ("entity" if endpoint else "endpoint"), since_ms=until - since, until_ms=until
    )
    if as_json:
        say(json.usage(usage))
    else:
        say(view.usage(usage, paint(options), width=width(), bars=sys.stdout.isatty()))
    return 0
